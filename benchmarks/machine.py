"""What the figures were measured on, and one way to write them down."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """The machine, the versions that matter, the commit and the time."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numba": version("numba"),
        "numpy": version("numpy"),
        "torch": version("torch"),
        "commit": commit.stdout.strip() or "unknown",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def write_results(name: str, command: str, text: str, figures: Mapping[str, Any]) -> None:
    """`results/<name>.md` for people and `results/<name>.json` for programs; both say where they were measured."""
    RESULTS.mkdir(exist_ok=True)
    where = machine()
    stamp = (
        f"Measured by `{command}` at {where['measured_at']} (commit {where['commit']}) on {where['cores']} x "
        f"{where['cpu']}, Python {where['python']}, numba {where['numba']}, torch {where['torch']}."
    )
    (RESULTS / f"{name}.md").write_text(f"{text}\n\n{stamp}\n", encoding="utf-8")
    content = {"command": command, "machine": where, **figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
