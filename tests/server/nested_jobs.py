"""A task function whose loop opens a bar of its own, as a tqdm deep in a library would."""

from __future__ import annotations

from socketprogress import Reporter, task, track


@task
def outer(progress: Reporter) -> int:
    """Count with a bar inside."""
    for _ in progress.track(range(2)):
        for _ in track(range(5), title="inner"):
            pass
    return 2
