"""What `socketprogress doctor` says of a store in Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import environment, run_cli


def test_doctor_says_whether_the_redis_answers_and_never_its_password(
    redis_server: Callable[..., Any], tmp_path: Path
) -> None:
    redis = redis_server(requirepass="hush")
    env = environment(tmp_path)
    url = redis.url.replace("//", "//:hush@")

    def doctor(store: str) -> str:
        told = run_cli("doctor", "--store", store, "--port", "0", env=env, cwd=tmp_path)
        return told.stdout + told.stderr

    assert f"store {redis.url} answers" in doctor(url)
    assert "Authentication" in doctor(redis.url)
    redis.kill()
    assert "does not answer" in doctor(url)
    assert "hush" not in doctor(url)
