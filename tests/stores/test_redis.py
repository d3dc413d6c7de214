"""What the Redis store refuses, whom it believes, and what it says where Redis does not answer."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis import Redis

from socketprogress.core.errors import ConfigurationError, StoreError
from socketprogress.core.state import Status, TaskState
from socketprogress.stores.redis import RedisStore
from socketprogress.stores.redis_place import parse_redis_url
from tests.conftest import RedisServer

HANG = 30.0


def task(task_id: str = "a", epoch: str = "ours", **changes: Any) -> TaskState:
    return TaskState(task_id, "work", "Work", epoch, created_at=1.0, **changes)


def saved(store: RedisStore, state: TaskState) -> None:
    """Save a state and return once that has been tried."""
    done = threading.Event()
    store.save(state, on_saved=done.set)
    assert done.wait(HANG)


@pytest.fixture
def url(lasting_redis: RedisServer) -> str:
    return f"{lasting_redis.url}?prefix={secrets.token_hex(8)}"


@pytest.fixture
def two(url: str) -> Iterator[tuple[RedisStore, RedisStore]]:
    """The stores of two processes."""
    with closing(RedisStore(url)) as ours, closing(RedisStore(url)) as theirs:
        yield ours, theirs


# -- who is believed -----------------------------------------------------------------------------


def test_a_later_term_takes_a_task_over_and_the_earlier_one_is_refused(
    two: tuple[RedisStore, RedisStore],
) -> None:
    ours, theirs = two
    refused: list[TaskState] = []
    ours.on_refused = refused.append
    saved(ours, task(epoch="ours", seq=5))

    saved(theirs, task(epoch="theirs", term=1, seq=6))
    saved(ours, task(epoch="ours", seq=9, message="I am still here"))

    assert [(state.epoch, state.seq) for state in ours.load()] == [("theirs", 6)]
    assert [state.epoch for state in refused] == ["theirs"]


def test_of_two_that_take_a_task_over_at_once_the_first_has_it(
    two: tuple[RedisStore, RedisStore],
) -> None:
    ours, theirs = two
    refused: list[TaskState] = []
    theirs.on_refused = refused.append
    saved(ours, task(epoch="dead"))

    saved(ours, task(epoch="ours", term=1))
    saved(theirs, task(epoch="theirs", term=1, seq=7))

    assert [state.epoch for state in theirs.load()] == ["ours"]
    assert [state.epoch for state in refused] == ["ours"]


@pytest.mark.parametrize("late", [{"status": Status.COMPLETED}, {"status": Status.LOST}])
def test_an_end_is_not_replaced_by_another_process_not_even_by_an_end(
    two: tuple[RedisStore, RedisStore], late: dict[str, Any]
) -> None:
    ours, theirs = two
    saved(ours, task(epoch="ours", term=1, status=Status.FAILED))

    saved(theirs, task(epoch="theirs", term=2, seq=9, **late))

    assert [state.status for state in theirs.load()] == [Status.FAILED]


def test_what_a_broken_connection_delivers_late_changes_nothing(url: str) -> None:
    with closing(RedisStore(url)) as store:
        saved(store, task(seq=7))
        saved(store, task(seq=6))

        assert [state.seq for state in store.load()] == [7]


def test_the_prefixes_of_one_database_do_not_meet(lasting_redis: RedisServer) -> None:
    one, other = (f"{lasting_redis.url}?prefix={secrets.token_hex(8)}" for _ in range(2))
    with closing(RedisStore(one)) as ours, closing(RedisStore(other)) as theirs:
        saved(ours, task())

        assert theirs.load() == []
        assert ours.get_meta("secret_key") != theirs.get_meta("secret_key")


def test_all_servers_of_a_store_have_one_secret(two: tuple[RedisStore, RedisStore]) -> None:
    ours, theirs = two

    assert ours.get_meta("secret_key") == theirs.get_meta("secret_key")


def test_a_backlog_larger_than_one_call_arrives_whole(url: str) -> None:
    with closing(RedisStore(url)) as store:
        for number in range(1_000):
            store.save(task(f"t{number}", result="x" * 1_000))
        saved(store, task("last"))

        assert len(store.load()) == 1_001


# -- URLs and what answers there -------------------------------------------------------------------


def test_a_url_names_the_database_and_the_prefix_and_shows_no_password() -> None:
    place = parse_redis_url(
        "rediss://user:secret@example.org:7000/3?prefix=mine&ssl_cert_reqs=none"
    )

    assert place.key("task", "a") == "mine:task:a"
    assert place.url == "rediss://user:secret@example.org:7000/3?ssl_cert_reqs=none"
    assert "secret" not in place.shown + repr(place)
    assert parse_redis_url("redis://localhost").key("tasks") == "socketprogress:tasks"


@pytest.mark.parametrize(
    "url", ["redis:", "redis://", "redis://u:secret@host:port/0", "redis://u:secret@host/five"]
)
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis://host:port/db") as caught:
        parse_redis_url(url)

    assert "secret" not in str(caught.value)


def test_where_nobody_answers_the_start_fails_with_the_place(
    redis_server: Callable[..., Any],
) -> None:
    redis = redis_server()
    redis.kill()

    with pytest.raises(StoreError, match=f"127.0.0.1:{redis.port}/0 does not answer"):
        RedisStore(redis.url.replace("//", "//:secret@"))


def test_a_password_is_needed_where_redis_asks_for_one(redis_server: Callable[..., Any]) -> None:
    redis = redis_server(requirepass="secret")

    with pytest.raises(StoreError, match="Authentication"):
        RedisStore(redis.url)
    with closing(RedisStore(redis.url.replace("//", "//:secret@"))) as store:
        saved(store, task())


def test_a_user_that_may_touch_the_prefix_alone_is_enough(redis_server: Callable[..., Any]) -> None:
    redis = redis_server()
    with Redis(port=redis.port) as admin:
        admin.execute_command("ACL SETUSER app on >word ~mine:* +@all -@admin -@dangerous")

    with closing(RedisStore(redis.url.replace("//", "//app:word@") + "?prefix=mine")) as store:
        saved(store, task())
        assert len(store.load()) == 1


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A certificate authority's file, and the options of a Redis that it vouches for."""
    made = trustme.CA()
    certificate = made.issue_cert("127.0.0.1")
    ca, key, chain = (tmp_path / name for name in ("ca.pem", "key.pem", "chain.pem"))
    made.cert_pem.write_to_path(ca)
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    options = {"tls-cert-file": chain, "tls-key-file": key, "tls-ca-cert-file": ca}
    return ca, {"tls-auth-clients": "no", **{name: str(at) for name, at in options.items()}}


def test_rediss_is_tls_and_believes_only_who_is_vouched_for(
    redis_server: Callable[..., Any], authority: tuple[Path, dict[str, str]]
) -> None:
    # Given a Redis that speaks TLS at another port
    ca, options = authority
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    redis_server(**{"tls-port": str(port), **options})
    url = f"rediss://127.0.0.1:{port}/0"

    # Then a store that knows the authority works
    with closing(RedisStore(f"{url}?ssl_ca_certs={ca}")) as store:
        saved(store, task())
        assert [state.task_id for state in store.load()] == ["a"]

    # And nobody else's, and none without TLS
    with pytest.raises(StoreError, match="certificate"):
        RedisStore(url)
    with pytest.raises(StoreError, match="does not answer"):
        RedisStore(url.replace("rediss", "redis"))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("sys.modules['redis'] = None", "pip install 'socketprogress[redis]'"),
        ("import redis; redis.__version__ = '8.0.0'", "8.0.0 must not be used"),
    ],
)
def test_a_missing_or_broken_package_is_named_with_the_remedy(found: str, said: str) -> None:
    script = f"import sys; {found}; from socketprogress.stores.redis import RedisStore"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; RedisStore('redis://127.0.0.1:1/0')"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "ConfigurationError" in done.stderr
    assert said in done.stderr
