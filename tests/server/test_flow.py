"""How much is under way to one connection: windows, marks, confirmations, and what the kernel says."""

from __future__ import annotations

import socket

import engineio
from engineio import packet
from engineio.socket import Socket as EngineIOSocket

from socketprogress.core.ports import LogPage
from socketprogress.server.flow import LEAST_BYTES, MOST_BYTES, PLAIN_BYTES, Flow, flow_of
from socketprogress.server.logpieces import newest_of, oldest_of


class Time:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Peer:
    """A client that confirms: it is given messages as the fanout gives them."""

    def __init__(self) -> None:
        self.time = Time()
        self.flow = Flow(self.time)
        self.flow.confirms = True
        self.asked: list[object] = []

    def give(self, size_bytes: int = 512) -> bool:
        """Give it a message unless it is busy; return whether it was."""
        if self.flow.busy():
            return False
        if self.flow.wants_mark():
            self.asked.append(self.flow.mark(size_bytes))
        self.flow.gave(size_bytes)
        return True

    def confirm(self, *, after_s: float = 0.0) -> None:
        """Answer the oldest question."""
        self.time.now += after_s
        self.asked.pop(0)()  # type: ignore[operator]

    def fill(self) -> int:
        """Give it all that it takes now; return how many messages of 512 bytes that were."""
        count = 0
        while self.give():
            count += 1
        return count


def test_a_new_client_gets_the_least_window_and_is_asked_within_it() -> None:
    peer = Peer()

    assert peer.fill() == LEAST_BYTES // 512
    assert peer.asked


def test_a_confirmation_makes_room_for_what_it_stands_for() -> None:
    peer = Peer()
    peer.fill()

    peer.confirm(after_s=1.4)

    assert 1 <= peer.fill() <= LEAST_BYTES // 512


def test_the_window_is_what_the_link_has_carried_in_that_time() -> None:
    quick, slow = Peer(), Peer()
    for peer, after_s in ((quick, 0.01), (slow, 1.0)):
        for _ in range(20):
            peer.fill()
            while peer.asked:
                peer.confirm(after_s=after_s)

    # All that no question follows counts as under way.
    assert MOST_BYTES / 2 < quick.fill() * 512 <= MOST_BYTES
    assert slow.fill() * 512 <= LEAST_BYTES


def test_an_overdue_confirmation_makes_a_wide_window_narrow_at_once() -> None:
    peer = Peer()
    for _ in range(20):
        peer.fill()
        while peer.asked:
            peer.confirm(after_s=0.01)
    for _ in range(16):
        peer.give()
    assert not peer.asked
    peer.time.now += 0.6  # now and then there is a question, however little is under way
    peer.give()
    assert len(peer.asked) == 1
    assert peer.give()

    peer.time.now += 0.6

    assert not peer.give()


def test_what_no_question_follows_never_blocks() -> None:
    peer = Peer()
    peer.flow.gave(1_000_000)  # an answer, which cannot ask anything

    assert peer.give()
    assert len(peer.asked) == 1
    assert not peer.give()
    peer.confirm()
    assert peer.give()


def test_half_of_the_window_is_for_states_alone() -> None:
    peer = Peer()
    assert peer.flow.room() == LEAST_BYTES // 2

    while not peer.asked:
        assert peer.give()

    assert peer.flow.room() == 0
    assert peer.give()
    peer.confirm()
    assert peer.flow.room() > 0


def test_room_is_never_waited_for_in_vain() -> None:
    peer = Peer()
    peer.flow.gave(LEAST_BYTES)

    assert peer.flow.room() > 0
    assert peer.flow.wants_mark()


def test_a_plain_client_is_busy_with_what_waits_here_and_in_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        flow = Flow()
        flow.socket = ours
        flow.gave(PLAIN_BYTES)
        assert flow.busy()

        sent = ours.send(b"x" * PLAIN_BYTES)
        flow.wrote(sent)
        assert flow.busy()

        while sent > 0:
            sent -= len(theirs.recv(PLAIN_BYTES))
        assert not flow.busy()
        assert not flow.wants_mark()


def test_a_closed_socket_holds_nothing() -> None:
    ours, theirs = socket.socketpair()
    flow = Flow()
    flow.socket = ours
    flow.gave(PLAIN_BYTES)
    flow.wrote(PLAIN_BYTES)
    ours.close()
    theirs.close()

    assert not flow.hoards()


def test_a_connection_that_another_application_serves_is_counted_by_its_queue() -> None:
    connection = EngineIOSocket(engineio.Server(async_mode="threading"), "sid")
    flow = flow_of(connection)
    assert flow_of(connection) is flow

    for _ in range(8):
        connection.send(packet.Packet(packet.MESSAGE, "x" * (PLAIN_BYTES // 8)))
    connection.send(packet.Packet(packet.PING))
    assert flow.busy()

    assert len(connection.poll()) == 9
    assert not flow.busy()


def test_a_page_of_a_log_is_cut_at_its_end_or_at_its_start() -> None:
    page = LogPage(10, tuple("abcdef"), 16)

    assert oldest_of(page, 8) == LogPage(10, ("a", "b"), 12)
    assert newest_of(page, 8) == LogPage(14, ("e", "f"), 16)
    assert oldest_of(page, 1) == LogPage(10, ("a",), 11)
    assert oldest_of(page, 10_000) == newest_of(page, 10_000) == page
    assert oldest_of(LogPage(16, (), 16), 1) == newest_of(LogPage(16, (), 16), 1)
    assert len(oldest_of(LogPage(0, ("ä" * 10,) * 9, 9), 200).lines) == 3
