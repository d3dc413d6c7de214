"""What `tqdm.contrib` has, with bars that are live on a server too."""

from __future__ import annotations

import functools

from tqdm import contrib as theirs

from socketprogress.auto import tqdm

__all__ = ["tenumerate", "tmap", "tzip"]

tenumerate = functools.partial(theirs.tenumerate, tqdm_class=tqdm)
tmap = functools.partial(theirs.tmap, tqdm_class=tqdm)
tzip = functools.partial(theirs.tzip, tqdm_class=tqdm)
