"""Python programs that tests run in processes of their own."""

import subprocess
from typing import Any

from scheduler_service.settings import PROJECT_ROOT
from tests import preloaded
from tests.waiting import HANG_S


def run_python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `python <arguments>` in the project's folder to its end; the output is text."""
    usual: dict[str, Any] = {
        "cwd": PROJECT_ROOT,
        "capture_output": True,
        "text": True,
        "timeout": HANG_S,
        "check": False,
    }
    return subprocess.run([preloaded.python(), *arguments], **usual | options)


def start_python(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `python <arguments>` in the project's folder; streams that are pipes carry text."""
    return subprocess.Popen([preloaded.python(), *arguments], **{"cwd": PROJECT_ROOT, "text": True} | options)
