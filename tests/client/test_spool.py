"""Spool files, and where reports go to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from socketprogress.client.origin import Origin, origin_of, parse_url
from socketprogress.client.spool import Spool

Run = Callable[..., Any]
URL = "http://127.0.0.1:8765"


def record(task_id: str, *, size: int = 1) -> dict[str, Any]:
    report = {"task_id": task_id, "reporter_seq": 1, "status": "completed", "message": "x" * size}
    return {
        "open": {"task_id": task_id, "name": "n"},
        "reports": [report],
        "known": {},
        "step": None,
    }


def test_a_file_is_delivered_by_one_at_a_time(tmp_path: Path) -> None:
    spool = Spool(URL, folder=tmp_path)
    assert spool.put([record("a"), record("b")]) == 2

    first, second = spool.claim(), Spool(URL, folder=tmp_path).claim()
    assert first is not None
    assert second is None
    assert [r["open"]["task_id"] for r in first.records] == ["a", "b"]
    first.release()
    again = spool.claim()
    assert again is not None
    again.delivered()

    assert spool.claim() is None
    assert list(tmp_path.iterdir()) == []


def test_servers_have_files_of_their_own_that_their_user_alone_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    Spool(URL, folder=folder).put([record("a")])

    assert Spool("http://elsewhere:1", folder=folder).claim() is None
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_oldest_goes_when_the_spool_is_full(tmp_path: Path) -> None:
    spool = Spool(URL, folder=tmp_path, most_bytes=5_000)

    for n in range(5):
        spool.put([record(f"task{n}", size=2_000)])

    claimed = spool.claim()
    assert claimed is not None
    assert claimed.records[0]["open"]["task_id"] == "task3"
    claimed.release()
    assert len(spool.files()) == 2


def test_what_is_large_is_spread_over_several_files(tmp_path: Path) -> None:
    spool = Spool(URL, folder=tmp_path)

    spool.put(record(f"task{n}", size=1_500_000) for n in range(5))

    assert len(spool.files()) == 3


@pytest.mark.parametrize(
    ("text", "url", "token"),
    [
        ("http://127.0.0.1:8765", URL, None),
        ("127.0.0.1:8765/", URL, None),
        ("ws://127.0.0.1:8765", URL, None),
        ("http://:secret@127.0.0.1:8765", URL, "secret"),
        ("http://secret@127.0.0.1:8765", URL, "secret"),
        ("http://127.0.0.1:8765/?token=sec%20ret", URL, "sec ret"),
        ("https://example.org/progress/", "https://example.org/progress", None),
        ("http://[::1]:8765", "http://[::1]:8765", None),
    ],
)
def test_a_url_may_hold_the_token(text: str, url: str, token: str | None) -> None:
    assert parse_url(text) == (url, token)


def test_what_is_no_url_is_refused_without_repeating_it() -> None:
    for text in ("", "ftp://secret@host", "http://", "http://host:port"):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the standard library's own, too
            parse_url(text)
        assert "secret" not in str(caught.value)


def test_what_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOCKETPROGRESS_MODE", raising=False)
    monkeypatch.setenv("SOCKETPROGRESS_URL", "http://environment:1")
    monkeypatch.setenv("SOCKETPROGRESS_TOKEN", "the environment's")

    assert origin_of() == Origin("http://environment:1", "the environment's")
    assert origin_of("http://:own@given:1") == Origin("http://given:1", "own")
    assert origin_of("http://given:1", "argument") == Origin("http://given:1", "argument")
    assert "argument" not in repr(origin_of("http://given:1", "argument"))


def test_reporting_loads_neither_a_websocket_nor_a_server() -> None:
    code = (
        "import sys\nfrom socketprogress import Reporter, track\n"
        "print({'websocket', 'socketio', 'requests', 'flask', 'eventlet', 'asyncio', 'msgspec'}"
        " & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_the_spool_is_delivered_on_demand_once(server: Run, api_of: Run, script: Run) -> None:
    running = server()
    running.kill()
    for n in range(3):
        script(f"Reporter('n', task_id='task{n}').advance()", running.url).end()
    running.start()
    deliver = """
        from socketprogress.client.delivery import deliver_spool
        say(f"{deliver_spool()} {deliver_spool()}")
        """

    assert script(deliver, running.url).hear() == "3 0"

    api = api_of(running.url)
    assert [api.ended(f"task{n}")["current"] for n in range(3)] == [1, 1, 1]


def test_delivering_to_nobody_says_so(script: Run) -> None:
    run = script(
        """
        from socketprogress.client.delivery import deliver_spool
        from socketprogress.core.errors import Unavailable
        for url in ("http://127.0.0.1:1", None):
            try: deliver_spool(url)
            except Unavailable as exc: say(exc)
        """
    )

    assert "no server answers" in run.hear()
    assert "no server is known" in run.hear()
