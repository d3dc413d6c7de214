"""A Quart service: POST /reports makes a report in the background and answers with its task's page."""

import asyncio

from quart import Quart

from socketprogress import Reporter

app = Quart(__name__)


async def write(report: Reporter, rows: int) -> None:
    """Fetch the rows, then write them."""
    async with report:
        report.step("Fetch", total=rows)
        for _ in range(rows):
            await asyncio.sleep(0.01)  # stands for a query
            report.advance()
        report.step("Write", message="to the archive")
        await asyncio.sleep(0.1)
        report.result = {"rows": rows}


@app.post("/reports/<int:rows>")
async def make_report(rows: int) -> tuple[dict[str, str], int]:
    """Start a report of so many rows."""
    report = Reporter("report", title=f"Report of {rows:,} rows", steps={"Fetch": 9, "Write": 1})
    app.add_background_task(write, report, rows)
    return {"task_id": report.task_id, "url": report.url}, 202
