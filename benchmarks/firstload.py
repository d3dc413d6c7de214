"""How long a page takes over a slow link until it is there, and until it is live.

    python benchmarks/firstload.py [--mode eventlet|threading|gevent]… [--kbit 50] [--delay-ms 400]

Each page is opened in a browser that has cached nothing, and then once more.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import urllib.request

from playwright.sync_api import Page, sync_playwright
from serving import serving
from slowlink import SlowLink

PATIENCE_MS = 120_000
COUNT_BYTES = """() => ["navigation", "resource"]
  .flatMap((kind) => performance.getEntriesByType(kind))
  .reduce((sum, entry) => sum + entry.transferSize, 0)"""


def start(url: str) -> str:
    """Start a task that goes on for as long as is measured, and return its id."""
    body = {"task": "sleeper", "args": {"seconds": 600, "hz": 5}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(  # noqa: S310 - the benchmark's own server
        f"{url}/api/tasks", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        return str(json.load(response)["task_id"])


def load(page: Page, url: str) -> str:
    """Open a page and return what it took."""
    since = time.monotonic()
    page.goto(url, wait_until="commit")
    page.locator("h1").first.wait_for()
    there_s = time.monotonic() - since
    page.get_by_text("live", exact=True).wait_for()
    live_s = time.monotonic() - since
    return f"there {there_s:.1f} s, live {live_s:.1f} s, {page.evaluate(COUNT_BYTES):,} bytes"


def main() -> None:
    """Measure every mode."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mode", action="append", choices=["eventlet", "threading", "gevent"])
    parser.add_argument("--kbit", type=float, default=50.0)
    parser.add_argument("--delay-ms", type=float, default=400.0)
    given = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        for mode in given.mode or ["eventlet"]:
            with serving(mode) as served:
                for name in ("/", f"/tasks/{start(served.url)}"):
                    pace = {"bits_per_s": given.kbit * 1e3, "delay_s": given.delay_ms / 1e3}
                    with SlowLink(served.url, **pace) as link, browser.new_context() as context:
                        page = context.new_page()
                        page.set_default_timeout(PATIENCE_MS)
                        for visit in ("first", "again"):
                            told = load(page, link.url + name)
                            print(f"{mode} {name[:7]} {visit}: {told}", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
