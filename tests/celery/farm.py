"""Definitions that a server starts and Celery's workers run."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

import socketprogress
from socketprogress import Reporter
from socketprogress.celery import install

app = Celery("farm", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.conf.task_acks_late = True


@socketprogress.task(executor="celery", title="Plough {fields} for {who}", steps=["Plough", "Sow"])
def plough(
    progress: Reporter, fields: int, who: str = "eve", pause_s: float = 0.02
) -> dict[str, Any]:
    """Work on some fields."""
    for name in ("Plough", "Sow"):
        progress.step(name, total=fields, message=f"{name} for {who}")
        for _ in range(fields):
            time.sleep(pause_s)
            progress.advance()
    progress.log(f"for {who}")
    return {"fields": fields}


@socketprogress.task(executor="celery")
def break_down() -> None:
    """Fail."""
    raise ValueError("no tractor")


@socketprogress.task(executor="celery")
def leave() -> None:
    """End in the way that would end a worker."""
    raise SystemExit(3)


@socketprogress.task(executor="celery", timeout_s=0.5)
async def sleep_in(seconds: float) -> None:
    """Take longer than is allowed."""
    await asyncio.sleep(seconds)


@socketprogress.task(executor="celery")
def feed(progress: Reporter, sack: Path) -> None:
    """Take a path, and offer a file."""
    progress.add_file(sack)


@socketprogress.task(executor="celery")
def unheard() -> None:
    """Be unknown to the workers."""


install(app, tasks=[plough, break_down, leave, sleep_in, feed], cancel_grace_s=1)
