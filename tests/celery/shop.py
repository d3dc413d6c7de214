"""An application's tasks as tutorials have them: nothing in here but `install` knows of progress."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery, group
from celery.exceptions import Ignore, Reject

import socketprogress
from socketprogress import Reporter
from socketprogress.celery import install

RETRY_S = 8

app = Celery("shop", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1
if "PICKLES" in os.environ:
    app.conf.accept_content = ["json", "pickle"]


@socketprogress.task(executor="celery")
def restock(progress: Reporter, count: int) -> int:
    """Be started by a server."""
    return sum(1 for _ in progress.track(range(count)))


install(
    app,
    cancel_grace_s=float(os.environ.get("GRACE", "10")),
    tasks=[restock],
    ignore=["shop.unseen*"],
    abandon_s=float(os.environ.get("ABANDON", "300")),
)


@app.task
def unseen_add(x: int) -> int:
    """Be none of anybody's business."""
    return x


@app.task(bind=True)
def refused(self: Any) -> None:
    """Be rejected for good."""
    raise Reject("spoilt", requeue=False)


@app.task(bind=True, acks_late=True)
def sent_back(self: Any) -> str:
    """Be rejected once, for another to do it."""
    if not (self.request.delivery_info or {}).get("redelivered"):
        raise Reject("not now", requeue=True)
    return "sold"


@app.task(bind=True)
def long_task(self: Any, pause_s: float = 0.05) -> dict[str, Any]:
    """Do what the tutorials' task does."""
    for i in range(1, 11):
        self.update_state(
            state="PROGRESS", meta={"current": i * 10, "total": 100, "status": f"part {i}"}
        )
        time.sleep(pause_s)
    return {"current": 100, "total": 100, "status": "Task completed!", "result": 42}


@app.task(bind=True)
def percent(self: Any) -> str:
    """Tell a percent, as the other tutorials do."""
    for i in range(0, 101, 10):
        self.update_state(state="PROGRESS", meta={"progress": i})
        time.sleep(0.05)
    return "done"


@app.task
def add(x: int, y: int = 1, password: str = "") -> int:
    """Say nothing of progress."""
    return x + y


@app.task
def fail() -> None:
    """Break."""
    raise ValueError("no such customer")


@app.task(bind=True)
def patient(self: Any, by_time: bool) -> str:
    """Wait for longer than anybody hears of it."""
    if not self.request.retries:
        later = datetime.now(UTC) + timedelta(seconds=RETRY_S)
        raise self.retry(**({"eta": later} if by_time else {"countdown": RETRY_S}))
    return "served"


@app.task(bind=True)
def outer(self: Any) -> None:
    """Put another task in its own place."""
    self.update_state(state="PROGRESS", meta={"current": 3, "total": 4})
    raise self.replace(long_task.s(0.2))


@app.task(bind=True, max_retries=3)
def flaky(self: Any) -> str:
    """Break once."""
    self.update_state(state="PROGRESS", meta={"current": 5, "total": 10})
    if not self.request.retries:
        raise self.retry(exc=OSError("the shop is closed"), countdown=1)
    return "open"


@app.task(bind=True)
def own_failure(self: Any) -> None:
    """Fail in the way of those who set the state themselves."""
    self.update_state(state="FAILURE", meta={"exc_type": "ValueError", "exc_message": "no"})
    raise Ignore


@app.task(bind=True)
def endless(self: Any) -> None:
    """Report for ever."""
    n = 0
    while True:
        n += 1
        self.update_state(state="PROGRESS", meta={"current": n})
        time.sleep(0.05)


@app.task
def deaf(seconds: float = 60) -> str:
    """Notice nothing."""
    time.sleep(seconds)
    return "slept"


@app.task(acks_late=True)
def deaf_and_late(seconds: float = 60) -> str:
    """Notice nothing, and be acknowledged at the end."""
    time.sleep(seconds)
    return "slept"


@app.task(bind=True)
def killed(self: Any) -> None:
    """Die as the kernel would have it."""
    self.progress.message = "about to die"
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def tracked(self: Any, count: int) -> int:
    """Use what the Reporter has and a `meta` has not."""
    for _ in self.progress.track(range(count)):
        time.sleep(0.02)
    self.progress.log("a line")
    return count


class Receipt:
    """No JSON, but Celery is content with tasks whose results nobody wants."""


@app.task(ignore_result=True)
def returns_object() -> Any:
    """Return what is no JSON."""
    return Receipt()


@app.task(bind=True)
def member(self: Any, n: int) -> int:
    """Be a part of a group."""
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 2})
    return n


@app.task
def total_of(numbers: list[int]) -> int:
    """Be the body of a chord."""
    return sum(numbers)


def group_of(count: int) -> Any:
    """Send a group of so many members."""
    return group(member.s(n) for n in range(count)).apply_async()
