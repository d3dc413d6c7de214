"""What is shown of a Celery task's arguments and of its `meta`."""

from __future__ import annotations

from typing import Any

import pytest

from socketprogress.celery.showing import Progress, args_of, progress_of, title_of


def login(user: str, password: str, *codes: int, key: str = "") -> None:
    """Take secrets by position and by name."""


@pytest.mark.parametrize(
    ("args", "kwargs", "title"),
    [
        (("eve", "hunter2"), {}, "login('eve', ***)"),
        (("eve",), {"password": "hunter2"}, "login('eve', password=***)"),
        (("eve", "x", 1, 2), {"key": "k"}, "login('eve', ***, 1, 2, key=***)"),
        (({"apiKey": "k", "n": [{"token": "t"}]},), {}, None),
        (("a" * 500,), {}, None),
    ],
)
def test_secrets_are_never_in_a_title(args: Any, kwargs: Any, title: str | None) -> None:
    shown = title_of("shop.login", args, kwargs, function=login)
    assert len(shown) <= 200
    assert "hunter2" not in shown
    assert "'k'" not in shown
    assert "'t'" not in shown
    if title is not None:
        assert shown == title


def test_arguments_without_a_name_are_not_shown() -> None:
    assert title_of("far.login", ("eve", "hunter2"), {"page": 3}) == "login(…, …, page=3)"


def test_the_application_hides_what_it_wants() -> None:
    def redact(task: str, name: str, value: Any) -> Any:
        assert task == "shop.login"
        return value[:1] + "…" if name == "user" else value

    shown = title_of("shop.login", ("eve", "x", 7), {}, function=login, redact=redact)
    assert shown == "login('e…', ***, 7)"


def test_a_redact_that_breaks_hides_all() -> None:
    def redact(*_: Any) -> Any:
        raise KeyError("no")

    assert title_of("shop.login", ("eve",), {}, function=login, redact=redact) == "login(***)"


@pytest.mark.parametrize(
    ("state", "meta", "told"),
    [
        ("PROGRESS", {"current": 3, "total": 9, "status": "s"}, Progress(3, 9, None, "s")),
        ("PROGRESS", {"done": 3, "total": 9}, Progress(3, 9)),
        ("PROGRESS", {"percent": 30}, Progress(30, 100, "%")),
        ("PROGRESS", {"progress": 130.5}, Progress(100, 100, "%")),
        ("PROGRESS", {"progress": "30"}, Progress(30, 100, "%")),
        ("PROGRESS", {"progress": "a third"}, Progress()),
        ("PROGRESS", {"current": True, "total": float("nan")}, Progress()),
        ("UPLOADING", {"current": 1}, Progress(1, None, None, "UPLOADING")),
        ("UPLOADING", None, Progress(message="UPLOADING")),
        (None, ["what"], Progress()),
    ],
)
def test_what_a_meta_says(state: Any, meta: Any, told: Progress) -> None:
    assert progress_of(state, meta) == told


def test_arguments_are_json_without_secrets() -> None:
    shown = args_of(
        "shop.login",
        ("eve", "hunter2", 1, 2),
        {"key": "k", "when": object, "n": [{"token": "t", "x": 2**70}], "long": "a" * 5_000},
        function=login,
    )
    assert {name: shown[name] for name in ("user", "password", "codes", "key")} == {
        "user": "eve", "password": "***", "codes": "1, 2", "key": "***"
    }  # fmt: skip
    assert "object" in shown["when"]
    assert "'t'" not in str(shown["n"])
    assert len(shown["long"]) <= 1_000
    assert args_of("far.login", ("eve",), {"page": 3}) == {"page": 3}
    assert len(args_of("far", (), {f"n{i}": "a" * 500 for i in range(100)})) < 20
