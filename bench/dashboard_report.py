"""What it takes to save a run as one HTML file, and to open that.

Usage::

    python bench/dashboard_report.py [--tasks 1000000] [--json FILE]

A cluster on this machine runs so many tasks of twenty functions; the report is made in this process, so that its
processor time and memory can be told from the cluster's. A headless Chromium (Debian's, through Playwright) then opens
the file: the first paint is there when the overview's panels are drawn, and an answer to a click or to the slider when
two frames were drawn after it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from dashboard_browser import CPUS, FRAMES, PAINTED, clicks, fill
from machine import describe, machine
from measure import percentile

LIMITS = {"file_mb": 20.0, "grown_mb": 500.0, "first_paint_s": 2.0, "click_p95_s": 0.1, "moment_p95_s": 0.1}
STEPS = 20  # of the slider

MOVE = """async (share) => {
  FRAMES
  const slider = document.querySelector(".hm-travel input");
  const begin = performance.now();
  slider.value = Number(slider.min) + (slider.max - slider.min) * share;
  slider.dispatchEvent(new Event("input"));
  await frames();
  return (performance.now() - begin) / 1000;
}""".replace("FRAMES", FRAMES)


def opened(context: Any, file: Path) -> dict[str, float]:
    """Figures of the file in a browser."""
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(file.as_uri(), wait_until="commit")
    page.wait_for_function(PAINTED, polling="raf")
    found = {"first_paint_s": time.perf_counter() - begin}
    page.locator("#menu a", has_text="Progress").click()
    page.wait_for_function(PAINTED, polling="raf")
    answers = clicks(page)
    found |= {"click_p50_s": statistics.median(answers), "click_p95_s": percentile(answers, 0.95)}
    moves = [float(page.evaluate(MOVE, ((turn * 7) % STEPS) / STEPS)) for turn in range(STEPS)]
    found |= {"moment_p50_s": statistics.median(moves), "moment_p95_s": percentile(moves, 0.95)}
    return found


def measure(tasks: int) -> dict[str, float]:
    """All figures."""
    from playwright.sync_api import sync_playwright

    import himalia
    from himalia.cluster.core import session
    from himalia.dashboard.report import save_report

    himalia.init(num_cpus=CPUS, log_to_driver=False)
    live = session.current_session()
    assert live is not None
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.html"
        try:
            fill(tasks)
            time.sleep(1.0)  # the last of them have been told
            before = psutil.Process().memory_full_info().uss
            begin, used = time.perf_counter(), time.process_time()
            figures["file_mb"] = save_report(live.connection, file) / 1e6
            figures["saved_in_s"], figures["processor_s"] = time.perf_counter() - begin, time.process_time() - used
            figures["grown_mb"] = (psutil.Process().memory_full_info().uss - before) / 1e6
        finally:
            himalia.shutdown()
        with sync_playwright() as running:
            browser = running.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            figures |= opened(browser.new_context(viewport={"width": 1280, "height": 900}), file)
            browser.close()
    return figures


def main() -> int:
    """Measure, print, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    about = machine()
    print(describe(about))
    figures = measure(arguments.tasks)
    failed = [name for name, limit in LIMITS.items() if figures[name] > limit]
    for name, value in figures.items():
        bound = f"at most {LIMITS[name]:g}" if name in LIMITS else ""
        print(f"{name:<16} {value:>10,.3f}  {bound}{'  MISSED' if name in failed else ''}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "figures": figures}, indent=2))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
