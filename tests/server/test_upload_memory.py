"""A large upload is never in the server's memory, in no async mode and neither way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import upload

MOST_MIB = 32


@pytest.mark.parametrize("size", [50_000_000, pytest.param(1 << 30, marks=pytest.mark.soak)])
@pytest.mark.parametrize("way", [upload.by_form, upload.by_tus])
def test_the_servers_memory_does_not_grow_with_the_file(
    any_mode: str, way: Callable[[str, int], None], size: int
) -> None:
    assert upload.measure(any_mode, way, size).rise_mib < MOST_MIB
