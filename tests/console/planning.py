"""Steps that the tests of the planner's page share."""

import pandas as pd
from playwright.sync_api import Page

from monitoring import PerformanceMonitor
from tests.conftest import LiveService


def recorded(console: LiveService) -> pd.DataFrame:
    return PerformanceMonitor(console.home / "logs" / "performance.db").get_performance_data()


def run(page: Page, path: str = "/run_algorithm") -> dict:
    """Press the button; return the service's answer."""
    with page.expect_response(lambda answer: answer.url.endswith(path)) as response:
        page.get_by_role("button", name="开始排程").click()
    answer: dict = response.value.json()
    return answer
