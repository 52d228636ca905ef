"""The console in a real browser: `python -m benchmarks.console [--newcomer]`.

How long a person waits: until a page can be used, from the click to the drawn schedule, and with `--newcomer` from
`git clone` to the first schedule on the screen (a fresh clone, `make serve`; minutes, and it uses the network).
Writes benchmarks/results/console.{md,json}.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.machine import markdown_table, write_results
from benchmarks.servers import ROOT, free_port, our_service

PAGES = ("schedule", "models", "experiments", "monitoring")
USABLE = "main .page:not(:has(.skeleton))"
RUN = "form.asked .primary"
ALL_DRAWN = (
    "document.querySelectorAll('.gantt canvas').length === {charts} && !document.querySelector('[aria-busy=true]')"
)
NEWCOMER_TIMEOUT_S = 1_200.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=5, help="repetitions of each measurement; the median is reported (default: 5)"
    )
    parser.add_argument(
        "--newcomer", action="store_true", help="also measure the time from a clone to the first schedule"
    )
    chosen = parser.parse_args(arguments)
    rows: list[tuple[str, Sequence[float]]] = []
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        with our_service(Path(folder) / "home", 1) as server:
            rows += [
                (f"{page}: address entered to usable, empty cache", opened(chromium, server.url, page, chosen.rounds))
                for page in PAGES
            ]
            rows += [("schedule: the same, files in the cache", opened_again(chromium, server.url, chosen.rounds))]
            for n in (1, 5, 20):
                rows.append(
                    (
                        f"click to drawn, {n} work points ({15 * n} steps)",
                        click_to_drawn(chromium, server.url, n, chosen.rounds),
                    )
                )
            rows.append(
                (
                    "click to both drawn, two models, 5 work points",
                    click_to_drawn(chromium, server.url, 5, chosen.rounds, charts=2),
                )
            )
            sent = transferred(chromium, server.url)
        figures: dict[str, Any] = {"seconds": {name: list(took) for name, took in rows}, "first_visit": sent}
        newcomer = way_of_a_newcomer(chromium, Path(folder) / "clone") if chosen.newcomer else None
    table = [(name, f"{statistics.median(took):.2f}", f"{max(took):.2f}") for name, took in rows]
    text = "# The console: how long a person waits\n\nOne service, Debian's Chromium on the same machine; seconds.\n\n"
    text += markdown_table(("from, to", f"median of {chosen.rounds}", "longest"), table)
    text += f"\n\nThe first visit loads {sent['requests']} files, {sent['kib']:.0f} KiB as sent (gzip); "
    text += "later visits ask whether they changed.\n"
    if newcomer is not None:
        figures["newcomer_s"] = newcomer
        text += "\n## From a clone to the first schedule on the screen\n\n"
        text += markdown_table(
            ("what", "seconds since the start"), [(name, f"{s:.0f}") for name, s in newcomer.items()]
        )
        text += "\n"
    write_results(
        "console", "python -m benchmarks.console" + (" --newcomer" if newcomer else ""), text.rstrip("\n"), figures
    )
    print(text)
    return 0


@contextmanager
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        raise SystemExit("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@contextmanager
def fresh_page(chromium: Browser, url: str) -> Iterator[Page]:
    """A page of a browser that was never here."""
    context = chromium.new_context(base_url=url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def opened(chromium: Browser, url: str, name: str, rounds: int) -> list[float]:
    took = []
    for _ in range(rounds):
        with fresh_page(chromium, url) as page:
            began_s = time.perf_counter()
            page.goto(f"/#/{name}")
            page.wait_for_selector(USABLE)
            took.append(time.perf_counter() - began_s)
    return took


def opened_again(chromium: Browser, url: str, rounds: int) -> list[float]:
    took = []
    with fresh_page(chromium, url) as page:
        page.goto("/#/schedule")
        page.wait_for_selector(USABLE)
        for _ in range(rounds):
            began_s = time.perf_counter()
            page.reload()
            page.wait_for_selector(USABLE)
            took.append(time.perf_counter() - began_s)
    return took


def click_to_drawn(chromium: Browser, url: str, workpoints: int, rounds: int, *, charts: int = 1) -> list[float]:
    """Until the browser has painted the chart, with the model's own time to improve (20 ms) among it."""
    took = []
    for _ in range(rounds):
        with fresh_page(chromium, url) as page:
            page.goto("/#/schedule")
            page.wait_for_selector(USABLE)
            if workpoints > 1:
                page.evaluate(
                    """async (n) => {
                    const own = document.querySelector('script[type=module]').src;
                    const { newWorkpoint } = await import(new URL('pages/schedule/exchange.js', own));
                    const workpoints = Array.from({ length: n }, (_, at) => newWorkpoint(String(at + 1)));
                    const kept = { mode: 'workpoints', params: Array(15).fill(5), workpoints };
                    localStorage.setItem('scheduler.draft', JSON.stringify(kept));
                }""",
                    workpoints,
                )
                page.reload()
                page.wait_for_selector(USABLE)
            if charts == 2:
                page.wait_for_function("document.querySelectorAll('[name=compare] option').length > 2")
                page.select_option("[name=compare]", index=2)
            began_s = time.perf_counter()
            page.click(RUN)
            page.wait_for_function(ALL_DRAWN.format(charts=charts))
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            took.append(time.perf_counter() - began_s)
    return took


def transferred(chromium: Browser, url: str) -> dict[str, float]:
    with fresh_page(chromium, url) as page:
        page.goto("/#/schedule")
        page.wait_for_selector(USABLE)
        sizes = page.evaluate("performance.getEntriesByType('resource').map((each) => each.encodedBodySize)")
    return {"requests": len(sizes) + 1, "kib": sum(sizes) / 1024}


def way_of_a_newcomer(chromium: Browser, folder: Path) -> dict[str, float]:
    """Seconds since the start at which each step was done: clone, `make serve`, the browser, a click."""
    began_s = time.monotonic()
    done: dict[str, float] = {}
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    done["cloned"] = time.monotonic() - began_s
    port = free_port()
    serving = subprocess.Popen(
        ["make", "serve", f"ARGS=--port {port}"], cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while time.monotonic() - began_s < NEWCOMER_TIMEOUT_S and serving.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5):
                break
            time.sleep(0.2)
        else:
            raise SystemExit(f"make serve did not answer (exit status {serving.poll()})")
        done["`make serve` answers (requirements installed, kernel compiled)"] = time.monotonic() - began_s
        with fresh_page(chromium, f"http://127.0.0.1:{port}") as page:
            page.goto("/")
            page.click(RUN)
            page.wait_for_function(ALL_DRAWN.format(charts=1))
            done["the first schedule is on the screen"] = time.monotonic() - began_s
    finally:
        with suppress(ProcessLookupError):
            os.killpg(serving.pid, signal.SIGTERM)
        serving.wait(60)
    return done


if __name__ == "__main__":
    sys.exit(main())
