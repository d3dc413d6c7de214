"""What the fanout brings to one connection, of which the test has both ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import socketio
from engineio import packet
from engineio.socket import Socket

from socketprogress.server.fanout import Fanout
from socketprogress.server.flow import PLAIN_BYTES, flow_of


class Watcher:
    """A connection that watches the tasks `a` to `f`, and the fanout that tells it of them."""

    def __init__(self, **options: Any) -> None:
        self.state: dict[str, Any] = {"epoch": "e1", "seq": 0}
        self.server = socketio.Server(async_mode="threading", **options)
        self.connection = Socket(self.server.eio, "eio")
        self.server.eio.sockets["eio"] = self.connection
        self.sid = self.server.manager.connect("eio", "/")
        for task_id in "abcdef":
            self.server.manager.enter_room(self.sid, "/", f"task:{task_id}")
        self.fanout = Fanout(
            self.server, "/", lambda task_id: {"task_id": task_id, **self.state}, lambda _: 0
        )

    def tell(self, task_ids: str = "a", **changes: Any) -> None:
        """Have a tick tell of the next state of tasks."""
        self.state = {**self.state, "seq": self.state["seq"] + 1, **changes}
        self.fanout.states(task_ids)

    def read(self) -> list[str]:
        """Take all messages that wait."""
        if self.connection.queue.empty():
            return []
        return [one.data for one in self.connection.poll() if one.packet_type == packet.MESSAGE]


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    one = Watcher()
    yield one
    one.server.eio.sockets.clear()


def test_once_all_is_confirmed_nothing_is_under_way(watcher: Watcher) -> None:
    # Given a client that confirms, which was told until it is asked for a confirmation
    watcher.fanout.confirms(watcher.sid)
    asked: list[str] = []
    while not asked:
        watcher.tell()
        asked = [text for text in watcher.read() if text[1].isdigit()]

    # When it confirms
    number = int(asked[0][1 : asked[0].index("[")])
    watcher.server.manager.trigger_callback(watcher.sid, number, [])

    # Then nothing is on the way any more, the number in the question neither
    flow = flow_of(watcher.connection)
    assert flow._given == flow._taken > 0


def test_a_state_under_a_new_epoch_is_news_whatever_its_number(watcher: Watcher) -> None:
    # Given a connection that was busy, and has just had the state that it missed
    flow_of(watcher.connection).gave(PLAIN_BYTES)
    watcher.tell()
    assert watcher.read() == []
    flow_of(watcher.connection).wrote(PLAIN_BYTES)
    assert watcher.fanout.catch_up() == 1
    assert len(watcher.read()) == 1

    # When another server, which knew less of the task, has ended it under the same number
    watcher.state["seq"] -= 1
    watcher.tell(epoch="e2", status="failed")

    # Then this is told, and what was had not
    (end,) = watcher.read()
    assert '"failed"' in end


@pytest.mark.parametrize("batches", [False, True])
def test_of_tasks_that_change_all_the_time_none_keeps_another_waiting(
    watcher: Watcher, batches: bool
) -> None:
    # Given a connection that takes one message between two ticks
    if batches:
        watcher.fanout.batches(watcher.sid)
    told: list[str] = []

    # When all of its tasks change in each of them
    for _ in range(12):
        watcher.fanout.catch_up()
        watcher.tell("abcdef", message="M" * PLAIN_BYTES)
        told += (json.loads(text[1:])[1]["task_id"] for text in watcher.read())

    # Then it hears of one after the other
    assert Counter(told) == dict.fromkeys("abcdef", 2)


def test_a_state_that_was_ahead_of_the_news_is_not_told_again_with_it(watcher: Watcher) -> None:
    # Given a tick that brings a state newer than the change which it was to tell of
    watcher.tell()
    assert len(watcher.read()) == 1

    # When the next tick has that state as its news, then it is had already, and the one after it is not
    watcher.fanout.states("a")
    assert watcher.read() == []
    watcher.tell()
    assert len(watcher.read()) == 1

    # And so it is with what was caught up
    flow_of(watcher.connection).gave(PLAIN_BYTES)
    watcher.tell()
    flow_of(watcher.connection).wrote(PLAIN_BYTES)
    watcher.fanout.catch_up()
    assert len(watcher.read()) == 1
    watcher.fanout.states("")
    watcher.fanout.states("a")
    assert watcher.read() == []


class Upper(socketio.packet.Packet):  # type: ignore[misc]
    """A host's own serializer."""

    def encode(self) -> str:
        return str(super().encode()).upper()


class Sorted:
    """A host's own JSON."""

    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return json.dumps(value, sort_keys=True, **options)


@pytest.mark.parametrize("message", ["done", "größer"])
def test_a_hosts_own_serializer_and_json_are_used(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketio.packet.Packet, "json", socketio.packet.Packet.json)  # put back
    upper, own = Watcher(serializer=Upper), Watcher(json=Sorted)

    for one in (upper, own):
        one.fanout.batches(one.sid)
        one.tell("ab", message=message)

    assert [text[:18] for text in upper.read()] == ['2["PROGRESS_UPDATE'] * 2
    (batch,) = own.read()
    states = json.loads(batch[1:])[1]
    assert [list(state) for state in states] == [["epoch", "message", "seq", "task_id"]] * 2
