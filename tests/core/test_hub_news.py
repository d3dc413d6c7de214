"""Who is told of what: changes, log lines, listeners."""

from __future__ import annotations

from collections.abc import Callable

from socketprogress.core.hub import LOG_LINES_WAITING
from socketprogress.core.ports import LogPage
from socketprogress.core.state import Status
from tests.core.bench import Bench

# -- logs ----------------------------------------------------------------------------------------


def test_lines_are_numbered_stored_and_told_once(bench: Bench) -> None:
    bench.start("a")
    bench.hub.log("a", ["one"])
    bench.hub.apply([{"task_id": "a", "log": ["two", "three"]}])

    assert bench.hub.log_next("a") == 3
    assert bench.hub.drain().logs == {"a": (0, ["one", "two", "three"])}
    assert bench.store.read_log("a", 1, 10) == LogPage(1, ("two", "three"), 3)
    bench.hub.log("a", ["four"])
    assert bench.hub.drain().logs == {"a": (3, ["four"])}


def test_no_lines_and_lines_of_nobody_are_nothing(bench: Bench) -> None:
    bench.start("a")

    bench.hub.log("a", [])
    bench.hub.log("nobody", ["x"])

    assert bench.hub.drain().logs == {}
    assert bench.store.log_sizes() == {}


def test_of_lines_that_nobody_fetches_the_newest_wait(bench: Bench) -> None:
    bench.start("a")
    for number in range(0, 5_000, 7):
        bench.hub.log("a", [f"line {n}" for n in range(number, number + 7)])

    offset, lines = bench.hub.drain().logs["a"]

    assert len(lines) == LOG_LINES_WAITING
    assert lines == [f"line {n}" for n in range(offset, offset + len(lines))]
    assert offset + len(lines) == bench.hub.log_next("a")


# -- telling -------------------------------------------------------------------------------------


def test_of_many_states_only_the_newest_is_drained_and_only_once(bench: Bench) -> None:
    bench.start("a", total=1000)
    for done in range(500):
        bench.hub.apply([{"task_id": "a", "current": done}])

    assert bench.hub.drain().tasks == {"a": bench.hub.get("a")}
    assert bench.hub.drain().tasks == {}


def test_a_touched_task_is_told_once_more(bench: Bench) -> None:
    state = bench.start("a")
    bench.hub.drain()

    bench.hub.touch("a")
    bench.hub.touch("nobody")

    assert bench.hub.drain().tasks == {"a": state}


def test_listeners_hear_every_change_of_their_task_until_they_stop(bench: Bench) -> None:
    heard: list[str] = []
    bench.hub.create("copy", title="t", task_id="a")
    bench.hub.create("copy", title="t", task_id="b")
    stop_one = bench.hub.listen("a", lambda: heard.append("one"))
    bench.hub.listen("a", lambda: heard.append("two"))

    bench.hub.begin("a")
    bench.hub.begin("b")
    stop_one()
    stop_one()
    bench.hub.end("a", Status.COMPLETED)
    assert heard == ["one", "two"]
    bench.store.written()

    assert heard == ["one", "two", "two"]


def test_a_listener_may_stop_listening_when_it_is_called(bench: Bench) -> None:
    bench.start("a")
    heard: list[int] = []
    stops: list[Callable[[], None]] = []
    stops.append(bench.hub.listen("a", lambda: (heard.append(1), stops[0]())[0]))

    bench.hub.request_cancel("a")
    bench.hub.apply([{"task_id": "a", "current": 1}])

    assert heard == [1]


def test_what_the_store_suffers_from_is_a_problem_of_the_hub(bench: Bench) -> None:
    assert bench.hub.problems() == []
    bench.store.refuses = "disk full"
    assert bench.hub.problems() == ["disk full"]
