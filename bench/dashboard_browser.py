"""What somebody in a browser notices of the dashboard: first paint, answers to a click, and how late it shows a task.

Usage::

    python bench/dashboard_browser.py [--tasks 1000000] [--rate 10000] [--seconds 10] [--json FILE]

A headless Chromium (Debian's, through Playwright) looks at a cluster on this machine that has run so many tasks. An
answer to a click is there when two frames were drawn after what it changed. How late a task is shown is the time from
its begin, on the worker's clock, to two frames after the message that told of it: both are this machine's clock. What
several short tasks share is a bar, which counts as the first of them, so no task is counted as earlier than it was.

The browser takes a core of its own: on a machine with fewer than four, the figures are those of a crowded machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from machine import describe, machine
from measure import percentile
from widgets import keep_rate

from dashboard import dashboard_of

CPUS = 2
FUNCTIONS = 20
PAGES = ("overview", "progress", "task_graph", "task_stream")
LIMITS = {
    "first_paint_s": 2.0,
    "click_p95_s": 0.1,
    "moment_p95_s": 0.1,
    "moment_server_p95_s": 0.06,
    "memory_mb": 500.0,
    "pixel_p95_s": 0.5,
}
STEPS = 40  # of the slider
CLICKS = 20

FRAMES = "const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"

# The page draws what a message brings with a timer, and Bokeh with the next frame.
LISTEN = """
window.shownLate = [];
const listen = WebSocket.prototype.addEventListener;
WebSocket.prototype.addEventListener = function (kind, call) {
  if (kind !== "message") return listen.call(this, kind, call);
  return listen.call(this, kind, (event) => {
    call(event);
    const begins = [];
    for (const op of JSON.parse(event.data).ops ?? []) {
      if (op.source === "bars" && op.op === "stream") begins.push(...op.data.begin);
    }
    if (!begins.length) return;
    const draw = () => setTimeout(() => {
      const now = Date.now();
      for (const begin of begins) window.shownLate.push((now - begin) / 1000);
    });
    setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(draw)), 17);
  });
};
"""

PAINTED = """() => {
  const plots = [...document.querySelectorAll(".hm-plot")].filter((one) => !one.children[1].hidden);
  const rows = document.querySelector("tbody tr");
  return plots.every((one) => one.dataset.drawn) && (rows || plots.length) && document.querySelector(".hm-panel");
}"""


def fill(tasks: int) -> None:
    """Run so many tasks, of several functions."""
    import himalia

    @himalia.remote
    def nothing(x: int) -> int:
        return x

    names = [nothing.options(name=f"function_{number}") for number in range(FUNCTIONS)]
    share = -(-tasks // FUNCTIONS)
    for named in names:
        time.sleep(0.05)  # so that also a small number is a run of some length, to go back in
        for begin in range(0, share, 5_000):
            himalia.get([named.remote(x) for x in range(min(5_000, share - begin))])


def paint(context: Any, url: str) -> float:
    """Seconds from the request until the page is drawn."""
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(PAINTED, polling="raf")
    took = time.perf_counter() - begin
    page.close()
    return took


def clicks(page: Any) -> list[float]:
    """Seconds until a table is sorted otherwise."""
    found = page.evaluate(
        FRAMES
        + """const found = [];
        const heads = [...document.querySelectorAll(".hm-heading")];
        for (let turn = 0; turn < TIMES; turn += 1) {
          const begin = performance.now();
          heads[turn % heads.length].click();
          await frames();
          found.push((performance.now() - begin) / 1000);
        }
        return found;""".replace("TIMES", str(CLICKS)).join(("(async () => {", "})()"))
    )
    return [float(one) for one in found]


MOVE = """async (share) => {
  FRAMES
  const slider = document.querySelector(".hm-travel input");
  slider.value = Number(slider.min) + (slider.max - slider.min) * share;
  const at = Number(slider.value);
  const arrived = () => Math.abs(Number(new URL(location).searchParams.get("at")) - at) < 0.02;
  const begin = performance.now();
  slider.dispatchEvent(new Event("input"));
  while (!arrived()) await new Promise((go) => setTimeout(go));
  await frames();
  return (performance.now() - begin) / 1000;
}""".replace("FRAMES", FRAMES)


def moments(page: Any, pid: int) -> tuple[list[float], list[float]]:
    """Seconds until the page shows another moment of the past; and of these, processor time of the dashboard."""
    took: list[float] = []
    used: list[float] = []
    for turn in range(1, STEPS):
        before = processor_s(pid)
        took.append(float(page.evaluate(MOVE, ((turn * 7) % STEPS) / STEPS)))
        used.append(processor_s(pid) - before)
    return took, used


def processor_s(pid: int) -> float:
    """Processor time that a process has used, to the nanosecond: of all threads that it has."""
    times = [path.read_text().split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(map(int, times)) / 1e9


def lateness(context: Any, where: Any, rate: int, seconds: float) -> list[float]:
    """Seconds from a task's begin to its bar in the task stream, at a rate."""
    spawn = multiprocessing.get_context("spawn")
    ready, over = spawn.Event(), spawn.Event()
    child = spawn.Process(target=keep_rate, args=(str(where.session_dir), rate, ready, over))
    child.start()
    try:
        if not ready.wait(60):
            raise TimeoutError("the driver that keeps the rate did not start")
        page = context.new_page()
        page.add_init_script(LISTEN)
        page.goto(f"{where.dashboard_url}/page/task_stream")
        page.wait_for_function(PAINTED)
        page.wait_for_timeout(3_000)  # what was there before has been read
        page.evaluate("window.shownLate.length = 0")
        page.wait_for_timeout(1_000 * seconds)
        found = [float(one) for one in page.evaluate("window.shownLate")]
        page.close()
    finally:
        over.set()
        child.join(30)
    return found


def measure(tasks: int, rate: int, seconds: float) -> dict[str, float]:
    """All figures."""
    from playwright.sync_api import sync_playwright

    import himalia
    from himalia.cluster.core import session

    himalia.init(num_cpus=CPUS, dashboard_port=0, log_to_driver=False)
    live = session.current_session()
    assert live is not None
    where = live.connection
    figures: dict[str, float] = {}
    try:
        begin = time.perf_counter()
        fill(tasks)
        figures["recorded"] = tasks
        figures["recorded_in_s"] = time.perf_counter() - begin
        time.sleep(1.0)  # the last of them have been told
        with sync_playwright() as running:
            browser = running.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            figures["start_and_paint_s"] = paint(
                context, f"{where.dashboard_url}/page/progress?token={where.dashboard_token}"
            )
            page = context.new_page()
            begin = time.perf_counter()
            page.goto(f"{where.dashboard_url}/page/progress")
            told = f"{tasks:,}" if tasks < 10_000 else f"of {-(-tasks // FUNCTIONS) * FUNCTIONS:,}"
            page.locator(".hm-note", has_text=told).first.wait_for(timeout=60_000)
            figures["all_read_s"] = time.perf_counter() - begin
            paints = {name: paint(context, f"{where.dashboard_url}/page/{name}") for name in PAGES}
            figures |= {f"paint_{name}_s": took for name, took in paints.items()}
            figures["first_paint_s"] = max(paints.values())
            answers = clicks(page)
            figures["click_p50_s"], figures["click_p95_s"] = statistics.median(answers), percentile(answers, 0.95)
            answers, used = moments(page, dashboard_of(where).pid)
            figures["moment_p50_s"], figures["moment_p95_s"] = statistics.median(answers), percentile(answers, 0.95)
            figures["moment_server_p95_s"] = percentile(used, 0.95)
            figures["memory_mb"] = dashboard_of(where).memory_full_info().pss / 1e6
            late = lateness(context, where, rate, seconds)
            figures["bars"] = len(late)
            if late:
                figures["pixel_p50_s"], figures["pixel_p95_s"] = statistics.median(late), percentile(late, 0.95)
            browser.close()
    finally:
        himalia.shutdown()
    return figures


def main() -> int:
    """Measure, print, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument(
        "--rate", type=int, default=10_000, help="tasks a second while it is measured how late they show"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    about = machine()
    print(describe(about))
    figures = measure(arguments.tasks, arguments.rate, arguments.seconds)
    failed = [name for name, limit in LIMITS.items() if figures.get(name, float("inf")) > limit]
    for name, value in figures.items():
        bound = f"at most {LIMITS[name]:g}" if name in LIMITS else ""
        print(f"{name:<22} {value:>12,.3f}  {bound}{'  MISSED' if name in failed else ''}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "figures": figures}, indent=2))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
