"""The states of many tasks in few messages, for those who ask for it; for all others nothing changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slowlink import SlowLink
from swarm import Swarm
from watchers import WAIT_S

from socketprogress import Client
from socketprogress.server.batches import fitting, json_of, message_of

MANY = 60
ROUNDS = 20
LEAST = 4_096


@pytest.fixture(scope="module", params=["eventlet", "threading", "gevent"])
def live(request: pytest.FixtureRequest, lasting_server: Callable[..., Any]) -> Iterator[Any]:
    running = lasting_server(mode=request.param)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.stderr


@pytest.fixture
def reporter(live: Any) -> Iterator[tuple[Callable[[int], None], list[str]]]:
    """A function that moves all of many tasks to a number, in one event, and their ids."""
    swarm = Swarm(live.url, 1)
    (sender,) = swarm.watchers
    ids = [
        swarm.call(sender, "open_task", {"name": "bar", "total": ROUNDS})["task_id"]
        for _ in range(MANY)
    ]

    def move(number: int) -> None:
        end = {"status": "completed"} if number == ROUNDS else {}
        reports = [
            {"task_id": i, "current": number, "reporter_seq": number, **end} for i in ids
        ]  # fmt: skip
        assert swarm.call(sender, "report", reports)["errors"] == []

    yield move, ids
    swarm.close()


def states(watcher: Any) -> list[dict[str, Any]]:
    """All states that a watcher was sent, alone or with others, in their order."""
    alone = {"progress_update": lambda p: [p], "progress_updates": lambda p: p}
    return [state for _, name, p in watcher.events if name in alone for state in alone[name](p)]


def finals(watcher: Any) -> dict[str, dict[str, Any]]:
    return {state["task_id"]: state for state in states(watcher) if state["status"] == "completed"}


def watch(swarm: Swarm, watcher: Any, ids: list[str]) -> None:
    numbers = [swarm.ask(watcher, "watch_task", task_id) for task_id in ids]
    assert swarm.run(lambda: all(number in watcher.acks for number in numbers), WAIT_S)


def test_who_asks_for_batches_gets_the_same_states_in_fewer_messages(
    live: Any, reporter: tuple[Callable[[int], None], list[str]]
) -> None:
    # Given a watcher of many tasks that takes batches, and one that knows nothing of them
    move, ids = reporter
    plain, modern = Swarm(live.url, 1), Swarm(live.url, 1, batches=True)
    for swarm in (plain, modern):
        watch(swarm, swarm.watchers[0], ids)

    # When all tasks move together, to their ends
    for number in range(1, ROUNDS + 1):
        move(number)
        modern.run(lambda: False, 0.02)

    # Then both see the same ends, the states of each task in order, and the one in far fewer events
    ends = []
    for swarm in (plain, modern):
        (watcher,) = swarm.watchers
        assert swarm.run(lambda watcher=watcher: set(finals(watcher)) == set(ids), WAIT_S)
        ends.append(finals(watcher))
        for task_id in ids:
            seqs = [s["seq"] for s in states(watcher) if s["task_id"] == task_id]
            assert seqs == sorted(set(seqs))
    assert ends[0] == ends[1]
    (old,), (new,) = plain.watchers, modern.watchers
    assert {name for _, name, _ in old.events} == {"progress_update"}
    assert "progress_updates" in {name for _, name, _ in new.events}
    assert len(new.events) * 4 < len(old.events)
    plain.close()
    modern.close()


def test_a_batch_is_no_larger_than_a_slow_link_carries(
    live: Any, reporter: tuple[Callable[[int], None], list[str]]
) -> None:
    move, ids = reporter
    with SlowLink(live.url, bits_per_s=100_000, delay_s=0.2) as link:
        far = Swarm(link.url, 1, confirms=True, batches=True)
        (watcher,) = far.watchers
        watch(far, watcher, ids)
        link.most_waiting = 0

        for number in range(1, ROUNDS + 1):
            move(number)
            far.run(lambda: False, 0.05)

        assert far.run(lambda: set(finals(watcher)) == set(ids), 2 * WAIT_S)
        assert link.most_waiting <= 3 * LEAST
        far.close()


def test_the_python_client_takes_batches(
    live: Any, reporter: tuple[Callable[[int], None], list[str]]
) -> None:
    move, ids = reporter
    with Client(live.url) as client:
        watches = [client.task(task_id).watch() for task_id in ids]
        assert {next(watch).progress for watch in watches} == {0}

        for number in range(1, ROUNDS + 1):
            move(number)

        for task_id, watch in zip(ids, watches, strict=True):
            *_, last = watch
            assert (last.task_id, last.status) == (task_id, "completed")


def test_a_batch_holds_what_fits_and_one_state_at_least() -> None:
    texts = {"a": "x" * 60, "b": "y" * 30, "c": "z" * 30}

    assert fitting(texts, 95) == ["a", "b"]
    assert fitting(texts, 10) == ["a"]
    assert fitting({}, 10) == []


SAID = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
)


@given(payload=st.dictionaries(st.text(st.characters(codec="ascii")), SAID))
def test_a_payload_in_json_says_what_the_standard_library_says(payload: dict[str, Any]) -> None:
    text = json_of(payload)

    assert text is not None
    assert json.loads(text) == json.loads(json.dumps(payload))


@pytest.mark.parametrize("odd", ["größer", "\ud800", {"a": object()}])
def test_what_is_no_plain_ascii_is_left_to_the_standard_library(odd: object) -> None:
    assert json_of({"message": odd}) is None


@pytest.mark.parametrize("prefix", ["2", "2/socketprogress,"])
def test_a_batch_is_made_of_encoded_events(prefix: str) -> None:
    texts = ['{"task_id":"a","message":"{[}"}', '{"task_id":"b"}']
    events = [f'{prefix}["progress_update",{text}]' for text in texts]

    assert message_of(prefix, texts) == f'{prefix}["progress_updates",[{",".join(texts)}]]'
    assert message_of(prefix, texts[:1]) == events[0]
