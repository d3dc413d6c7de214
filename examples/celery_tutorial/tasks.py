"""The tutorials' long task, as they have it; new are an import and a line."""

# ruff: noqa: S311 - chance words, no secrets

import random
import time

from celery import Celery

from socketprogress.celery import install

app = Celery("tasks", broker="redis://127.0.0.1:6379/0", backend="redis://127.0.0.1:6379/0")
install(app)

VERBS = ["Starting up", "Booting", "Repairing", "Loading", "Checking"]
NOUNS = ["solar array", "particle reshaper", "cosmic ray", "orbiter", "bit"]


@app.task(bind=True)
def long_task(self, total=40):
    """Take a while, and say so."""
    message = ""
    for i in range(total):
        if not message or random.random() < 0.25:
            message = f"{random.choice(VERBS)} {random.choice(NOUNS)}…"
        self.update_state(state="PROGRESS", meta={"current": i, "total": total, "status": message})
        time.sleep(0.05)
    return {"current": total, "total": total, "status": "Task completed!", "result": 42}
