"""What `tqdm.contrib.concurrent` has, with bars that are live on a server too."""

from __future__ import annotations

import functools

from tqdm.contrib import concurrent as theirs

from socketprogress.auto import tqdm

__all__ = ["process_map", "thread_map"]

process_map = functools.partial(theirs.process_map, tqdm_class=tqdm)
thread_map = functools.partial(theirs.thread_map, tqdm_class=tqdm)
