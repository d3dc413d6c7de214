"""A FastAPI service: POST /crawls fetches pages in the background and answers with its task's page."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI

from socketprogress import Reporter, track

app = FastAPI()


async def fetched(pages: int) -> AsyncIterator[str]:
    """Yield the pages as they come."""
    for number in range(pages):
        await asyncio.sleep(0.01)  # stands for a request
        yield f"page {number}"


async def crawl(report: Reporter, pages: int) -> None:
    """Fetch the pages of three sites, each with a bar of its own under the crawl's."""
    async with report:
        report.total = 3
        for site in ("news", "blog", "shop"):
            async for page in track(fetched(pages), name="site", title=site, total=pages):
                report.message = f"{site}: {page}"
            report.advance()


@app.post("/crawls/{pages}", status_code=202)
async def start_crawl(pages: int, background: BackgroundTasks) -> dict[str, str]:
    """Start a crawl of so many pages a site."""
    report = Reporter("crawl", title=f"Crawl of {pages:,} pages a site")
    background.add_task(crawl, report, pages)
    return {"task_id": report.task_id, "url": report.url}
