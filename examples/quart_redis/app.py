"""The tutorials' Quart + Redis application: work in the background, its progress through Redis.

They keep a percent under a key, have the page ask for it every second, and empty the database by
FLUSHDB at each start. Here the work reports into the Redis that the servers share, under a prefix of
its own, and the page is told.
"""

import asyncio
import os

from quart import Quart

from socketprogress import Reporter

REDIS = os.environ.get("SOCKETPROGRESS_STORE", "redis://127.0.0.1:6379/0?prefix=progress")
SERVER = os.environ.get("SOCKETPROGRESS_PAGE", "http://127.0.0.1:8765")

PAGE = """<!doctype html>
<title>Work in the background</title>
<form method="post" action="/start"><button>Start</button></form>
"""

app = Quart(__name__)


async def work(report: Reporter) -> None:
    """Do a hundred things."""
    async with report:
        for number in report.track(range(100)):
            report.message = f"thing {number + 1}"
            await asyncio.sleep(0.02)
        report.result = "done"


@app.get("/")
async def index() -> str:
    """Show the button."""
    return PAGE


@app.post("/start")
async def start() -> tuple[str, int, dict[str, str]]:
    """Start the work, and go to its live page."""
    report = Reporter("work", title="Work in the background", url=REDIS)
    app.add_background_task(work, report)
    return report.task_id, 303, {"Location": f"{SERVER}/tasks/{report.task_id}"}
