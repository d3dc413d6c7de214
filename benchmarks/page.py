"""Measure what a page of live bars costs its browser: main thread, long tasks, memory.

    python benchmarks/page.py                   200 bars at 20 Hz, 10 s traced
    python benchmarks/page.py --soak 300        and 5 minutes of memory
    python benchmarks/page.py --list 2000       how a list of 2,000 tasks loads and scrolls

A reporter in a process of its own moves every task at every beat, in one event. The page is the list in
a window so tall that each row is on the screen, at fewer pixels each. With `--list` the window is an
ordinary one, that loads the whole list and scrolls through it while every task moves twice a second.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import socketio
from playwright.sync_api import CDPSession, Page, sync_playwright
from serving import serving

ROW_PX = 125
LONG_MS = 50
OPEN_A_S = 80
AT_ONCE = 500
CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
COUNT_FRAMES = """
window.frameCount = 0;
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", () => (window.frameCount += 1));
  }
};"""
COUNT_UPDATES = """() => {
  window.changes = 0;
  new MutationObserver((seen) => (window.changes += seen.length)).observe(
    document.getElementById("tasks"), { subtree: true, attributeFilter: ["aria-valuenow"] });
}"""


def push(url: str, tasks: int, hz: float) -> None:
    """Open tasks and move all of them at every beat, until killed."""
    with socketio.SimpleClient() as server:
        server.connect(url)
        for number in range(tasks):
            opened = {"name": "bar", "task_id": f"bar-{number}", "title": f"Bar {number}"}
            server.call("open_task", {**opened, "total": 1_000_000, "unit": "row"})
            time.sleep(1 / OPEN_A_S)
        print("open", flush=True)
        beat, began = 0, time.monotonic()
        while True:
            beat += 1
            for first in range(0, tasks, AT_ONCE):
                reports = [
                    {"task_id": f"bar-{number}", "current": beat * 100, "reporter_seq": beat}
                    for number in range(first, min(first + AT_ONCE, tasks))
                ]
                server.call("report", reports)
            time.sleep(max(began + beat / hz - time.monotonic(), 0))


def main() -> None:
    """Measure, and print the figures."""
    options = _options()
    if options.push:
        push(options.push, options.bars, options.hz)
        return
    with serving("eventlet") as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"],
        )
        pusher = _pusher(served.url, options)
        try:
            page = browser.new_page(
                viewport={"width": 1280, "height": options.height},
                device_scale_factor=options.scale,
            )
            page.add_init_script(COUNT_FRAMES)
            page.goto(served.url)
            page.get_by_text("live", exact=True).wait_for()
            time.sleep(options.settle)
            while options.list and page.locator("#more").is_visible():
                page.locator("#more a").click()
                page.wait_for_timeout(1000)
            _trace(page, options)
            if options.soak:
                _soak(page, options.soak)
        finally:
            pusher.kill()
            pusher.wait()
            browser.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bars", type=int, default=200)
    parser.add_argument("--hz", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--settle", type=float, default=8)
    parser.add_argument("--height", type=int, default=0)
    parser.add_argument("--scale", type=float, default=0.2, help="pixels of the screen a CSS pixel")
    parser.add_argument("--soak", type=float, default=0)
    parser.add_argument("--list", type=int, default=0, help="rows of a list to scroll through")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--push", default="")
    options = parser.parse_args()
    if options.list:
        options.bars, options.hz, options.height, options.scale = options.list, 2, 900, 1
    options.height = options.height or options.bars * ROW_PX
    return options


def _pusher(url: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--push", url]
    command += ["--bars", str(options.bars), "--hz", str(options.hz)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def _metrics(cdp: CDPSession) -> dict[str, float]:
    found = cdp.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: metric["value"] for metric in found}


def _trace(page: Page, options: argparse.Namespace) -> None:
    page.evaluate(COUNT_UPDATES)
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    if options.profile:
        cdp.send("Profiler.enable")
        cdp.send("Profiler.start")
    else:
        page.context.browser.start_tracing(page=page, categories=CATEGORIES)
    frames = page.evaluate("window.frameCount")
    before, began = _metrics(cdp), time.monotonic()
    if options.list:
        _scroll(page, options.seconds)
    else:
        page.wait_for_timeout(options.seconds * 1000)
    after, took_s = _metrics(cdp), time.monotonic() - began
    changes, frames = page.evaluate(f"[window.changes, window.frameCount - {frames}]")
    if options.profile:
        _print_profile(cdp.send("Profiler.stop")["profile"])
    else:
        _print_trace(json.loads(page.context.browser.stop_tracing()), took_s)
    print(f"{options.bars} bars, {took_s:.1f} s: {changes / took_s:,.0f} bars moved a second")
    for name in ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration"):
        spent = after[name] - before[name]
        print(f"  {name:20} {spent:6.2f} s  {spent / took_s:6.1%} of a core")
    for name in ("LayoutCount", "RecalcStyleCount"):
        print(f"  {name:20} {after[name] - before[name]:6.0f}")
    print(f"  frames over the wire {frames / took_s:6,.0f} a second")


def _scroll(page: Page, seconds: float) -> None:
    end = time.monotonic() + seconds
    page.mouse.move(300, 500)
    while time.monotonic() < end:
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(50)


def _print_trace(trace: dict[str, Any], took_s: float) -> None:
    events = trace["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        event
        for event in events
        if event["name"] == "ThreadControllerImpl::RunTask"
        and event.get("ph") == "X"
        and (event["pid"], event["tid"]) in mains
    ]
    busiest = Counter[tuple[int, int]]()
    for event in tasks:
        busiest[event["pid"], event["tid"]] += event.get("tdur", event["dur"])
    main, cpu_us = busiest.most_common(1)[0]
    own = [event for event in tasks if (event["pid"], event["tid"]) == main]
    long = [event for event in own if event["dur"] > LONG_MS * 1000]
    cpu_long = [event for event in own if event.get("tdur", 0) > LONG_MS * 1000]
    longest = max(event["dur"] for event in own) / 1000
    share, clock_share = cpu_us / 1e6 / took_s, sum(event["dur"] for event in own) / 1e6 / took_s
    frames = sum(_is_frame(event) for event in events if (event["pid"], event["tid"]) == main)
    print(
        f"traced: main thread {share:.1%} of a core ({clock_share:.1%} by the clock), "
        f"longest task {longest:.0f} ms, {len(long)} tasks over {LONG_MS} ms "
        f"({len(cpu_long)} by the processor), {frames / took_s:.1f} frames a second"
    )


def _is_frame(event: dict[str, Any]) -> bool:
    return event["name"] == "Layerize" and event.get("ph") in ("X", "B")


def _print_profile(profile: dict[str, Any]) -> None:
    nodes = {node["id"]: node["callFrame"] for node in profile["nodes"]}
    spent = Counter[str]()
    for node_id, delta_us in zip(profile["samples"], profile["timeDeltas"], strict=True):
        frame = nodes[node_id]
        where = f"{frame['functionName']} {Path(frame['url']).name}:{frame['lineNumber']}"
        spent[where] += delta_us
    total = sum(spent.values())
    for where, us in spent.most_common(25):
        print(f"  {us / total:6.1%} {where}")


def _soak(page: Page, seconds: float) -> None:
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        cdp.send("HeapProfiler.collectGarbage")
        metrics = _metrics(cdp)
        print(f"  heap {metrics['JSHeapUsedSize'] / 1e6:6.2f} MB, {metrics['Nodes']:.0f} nodes")
        page.wait_for_timeout(min(seconds / 6, 30) * 1000)


if __name__ == "__main__":
    main()
