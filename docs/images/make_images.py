"""Makes the two pictures of the README: `.venv/bin/python -m docs.images.make_images`.

`report.png` is a photograph (headless Chromium) of an A/B test report on runs of a live service, `gantt.png` the plan
of three work points by the better seed model. Takes a good minute; run it again when the seed models or the
reports change.
"""

import io
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image

from monitoring import ABTestAnalyzer, PerformanceMonitor
from scheduler_env.agent import load_agent
from scheduler_env.gantt import figure, to_png
from scheduler_env.readers import instance_from_request
from scheduler_env.standard_cycle import SAMPLE_PARAMS
from scheduler_service.settings import PROJECT_ROOT
from tests.conftest import live_service

FOLDER = Path(__file__).resolve().parent
EXPERIMENT = "ddqn_v1_vs_v2"
USERS, TRAFFIC_S = 1_800, 60.0
WIDTH, HEIGHT = 1100, 1930
WORKPOINTS = {"boiler": ("锅炉", 1.0), "vessel": ("容器", 0.8), "pipe": ("管道", 0.6)}
"""Name, and by how much its steps are shorter than those of the sample request."""


def make_gantt() -> bytes:
    """The team view of three work points, by the better seed model."""
    payload = {
        key: {"name": name, "params": [round(hours * factor, 1) for hours in SAMPLE_PARAMS]}
        for key, (name, factor) in WORKPOINTS.items()
    }
    solution = load_agent(PROJECT_ROOT / "models" / "seed" / "ddqn_v2.pth").solve(
        instance_from_request({"workpoints": payload})
    )
    return to_png(figure(solution.schedule, "team", lower_bound_h=solution.lower_bound_h))


def make_report(home: Path) -> Path:
    """The report on a rollout of the better seed model over the modest one that has just been run."""
    chance = random.Random(1)
    (home / "ab_test_config.json").write_text('{"experiments": {}, "default_model": "DDQN_v1.0"}')
    with live_service(home) as service:
        rollout = {"min_hours": 0}
        body = {"experiment_name": EXPERIMENT, "model_a": "DDQN_v1.0", "model_b": "DDQN_v2.0", "rollout": rollout}
        service.post("/experiments", json=body).raise_for_status()
        began_s = time.monotonic()
        for number in range(USERS):
            service.run(
                params=[round(hours * chance.uniform(0.7, 1.3), 1) for hours in SAMPLE_PARAMS],
                experiment=EXPERIMENT,
                user_id=f"user_{number}",
                time_budget_ms=0,
            )
            time.sleep(max(0.0, began_s + (number + 1) * TRAFFIC_S / USERS - time.monotonic()))
        days = (time.monotonic() - began_s) / 86_400
        monitor = PerformanceMonitor(home / "logs" / "performance.db", reports_dir=home / "reports")
        analyzer = ABTestAnalyzer(monitor, config_path=home / "ab_test_config.json")
        return Path(analyzer.generate_ab_test_report(EXPERIMENT, days=days))


def photograph(page: Path) -> bytes:
    """The top of an HTML file, as Chromium shows it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium here: apt-get install -y chromium")
    picture = page.with_suffix(".png")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return picture.read_bytes()


def save(picture: bytes, name: str) -> None:
    """Keep a picture, packed as tightly as PNG allows."""
    path = FOLDER / name
    Image.open(io.BytesIO(picture)).convert("RGB").save(path, optimize=True)
    print(f"{path.relative_to(PROJECT_ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    save(make_gantt(), "gantt.png")
    with tempfile.TemporaryDirectory() as folder:
        save(photograph(make_report(Path(folder))), "report.png")


if __name__ == "__main__":
    main()
