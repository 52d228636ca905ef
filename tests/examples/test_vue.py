"""The Vue example: its own tests, the guide's component, and the built page in a browser."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LiveService
from tests.examples.field import BURST, HOURS, OPTIMUM_H, VUE, absent, ended, guide, recorded, refusals
from tests.waiting import HANG_S, until


@pytest.fixture(scope="module")
def node_modules() -> Path:
    if shutil.which("npm") is None:
        absent("npm", "false")
    if not (VUE / "node_modules" / ".stamp").exists():
        absent("examples/vue/node_modules", "npm", "ping")
    return VUE / "node_modules"


def vue(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return ended(["npm", "run", "--silent", script, "--", *arguments], cwd=VUE, env=os.environ | environment)


def test_the_vue_component_runs_sends_feedback_and_reports_refusals(plant, node_modules):
    before = refusals(plant)
    environment = {"SCHEDULER_URL": plant.url, "SCHEDULER_KEY": "vue", "EXPERIMENT": "ddqn_v1_vs_v2"}
    text = vue("test", SCHEDULER_BURST=str(BURST), NO_COLOR="1", **environment)
    assert text.returncode == 0, text.stdout + text.stderr
    assert re.search(r"Tests +10 passed \(10\)", text.stdout)
    row = recorded(plant, text.stdout.partition("rated ")[2].split()[0])
    assert (row["user_id"], row["user_satisfaction"], row["experiment"]) == ("7", 4, "ddqn_v1_vs_v2")
    assert refusals(plant) > before


def test_the_vue_component_of_the_guide_works_with_the_real_axios(plant, node_modules):
    component = guide("javascript", "axios.post").replace("export default", "const component =")
    program = f"""
        import axios from 'axios'
        axios.defaults.baseURL = {json.dumps(plant.url)}
        {component}
        const it = {{ inputParams: {HOURS}, $store: {{ state: {{ user: {{ id: 7 }} }} }} }}
        await component.methods.runAlgorithm.call(it)
        console.log(JSON.stringify([it.result.makespan, it.modelInfo.user_id]))
    """
    result = ended(["node", "--input-type=module", "-e", program], cwd=VUE)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [pytest.approx(OPTIMUM_H, abs=0.01), "7"]


@pytest.fixture(scope="module")
def built_page(plant: LiveService, node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built example, served as in development: the proxy adds the key."""
    folder = tmp_path_factory.mktemp("page")
    text = vue("build", "--outDir", str(folder))
    assert text.returncode == 0, text.stderr
    output = folder / "output.txt"
    with output.open("wb") as file:
        command = [
            str(node_modules / ".bin" / "vite"),
            "preview",
            "--outDir",
            str(folder),
            "--host",
            "127.0.0.1",
            "--port",
            "0",
        ]
        environment = os.environ | {"SCHEDULER_URL": plant.url, "SCHEDULER_KEY": "planner", "NO_COLOR": "1"}
        process = subprocess.Popen(command, cwd=VUE, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        found = until(lambda: re.search(r"http://127\.0\.0\.1:\d+", output.read_text()), output.read_text)
        assert found is not None
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=HANG_S)


def test_the_vue_page_draws_a_schedule_without_the_key_in_the_browser(built_page, browser):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    complaints: list[str] = []
    sent: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda err: complaints.append(str(err)))
    page.on("request", lambda request: sent.append(f"{request.url} {request.all_headers()}"))
    page.goto(built_page)
    page.get_by_role("button", name="生成计划").click()
    page.get_by_role("img", name="甘特图：15 道工序，52.9 小时").wait_for()
    page.get_by_role("button", name="5 分").click()
    page.get_by_text("谢谢！").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
    assert complaints == []
    assert any("/feedback" in request for request in sent)
    assert not any("authorization" in request.lower() or "planner" in request for request in sent)
