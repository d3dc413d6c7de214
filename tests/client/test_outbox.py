"""The outbox: whatever is lost on the way, the server ends up with the true state, once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socketprogress.client.outbox import Batch, Outbox
from socketprogress.core.ports import Report

STEPS = ("a", "b", "c")


class ServerModel:
    """What the protocol promises of a server, and a store that may be behind when it is killed."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, str] = {}
        self.refused: list[str] = []

    def open(self, opening: Mapping[str, Any]) -> None:
        self.tasks.setdefault(
            opening["task_id"],
            {"seq": 0, "state": {}, "steps": [], "log": [], "end": None},
        )

    def report(self, reports: list[Report]) -> list[dict[str, Any]]:
        errors = []
        for report in reports:
            task = self.tasks.get(report["task_id"])
            if task is None:
                code = "unknown_task"
            elif report["reporter_seq"] <= task["seq"]:
                continue
            elif task["end"] is not None:
                code = "task_ended"
                self.refused.append(report["task_id"])
            else:
                self._apply(task, report)
                continue
            errors.append({"task_id": report["task_id"], "error": {"code": code}})
        return errors

    def _apply(self, task: dict[str, Any], report: Report) -> None:
        task["seq"] = report["reporter_seq"]
        if "step" in report:
            task["steps"].append(report["step"])
            task["state"] |= {"current": 0, "total": None}
        task["state"] |= {k: report[k] for k in ("current", "total", "message") if k in report}  # type: ignore[literal-required]
        task["log"] += report.get("log", [])
        if "status" in report:
            task["end"] = (report["status"], report.get("result"))
            self.store()

    def store(self) -> None:
        """Store everything, as the server's own thread does now and then."""
        self.stored = {task_id: json.dumps(task) for task_id, task in self.tasks.items()}

    def die(self, *, forget: bool) -> None:
        """Be killed and start again, from the store or from nothing."""
        self.tasks = {} if forget else {i: json.loads(task) for i, task in self.stored.items()}
        self.stored = self.stored if not forget else {}


class Work:
    """One task's work, and the truth about it."""

    def __init__(self, task_id: str, outbox: Outbox) -> None:
        self.task_id = task_id
        self.outbox = outbox
        self.state: dict[str, Any] = {}
        self.log: list[str] = []
        self.step: str | None = None
        outbox.open({"task_id": task_id, "name": task_id})

    def change(self, **changes: Any) -> None:
        self.state |= changes
        self.outbox.merge([{"task_id": self.task_id, **changes}])  # type: ignore[typeddict-item]

    def enter(self, step: str) -> None:
        self.step = step
        self.state |= {"current": 0, "total": None, "message": ""}
        self.outbox.merge(
            [
                {
                    "task_id": self.task_id,
                    "step": step,
                    "current": 0,
                    "total": None,
                    "message": "",
                }
            ]
        )

    def write(self) -> None:
        line = f"{self.task_id} {len(self.log)}"
        self.log.append(line)
        self.outbox.merge([{"task_id": self.task_id, "log": [line]}])


class Story:
    """A process with its outbox, the server, and a connection that may break at any moment."""

    def __init__(self, tasks: int) -> None:
        self.now = 1_000.0
        self.numbers = itertools.count(1)
        self.outbox = Outbox(self.numbers)
        self.works = [Work(f"task{n}", self.outbox) for n in range(tasks)]
        self.server = ServerModel()
        self.flight: tuple[Batch, list[dict[str, Any]]] | None = None
        self.forgot = False

    def step(self, action: str, number: int) -> None:  # noqa: C901 - a list of what may happen
        work = self.works[number % len(self.works)]
        match action:
            case "count":
                work.change(current=number, total=100)
            case "message":
                work.change(message=f"at {number}")
            case "step":
                work.enter(STEPS[number % len(STEPS)])
            case "log":
                work.write()
            case "talk" | "talk, unheard":
                self.talk(heard=action == "talk")
            case "answer" if self.flight is not None:
                batch, errors = self.flight
                self.flight = None
                self.outbox.acknowledge(batch, errors, now=self.now)
            case "lose":
                self.lose(restarted=False)
            case "store":
                self.server.store()
            case "kill":
                self.server.die(forget=False)
                self.lose(restarted=True)
            case "forget":
                self.forgot = True
                self.server.die(forget=True)
                self.lose(restarted=True)
        self.now += 0.1

    def talk(self, *, heard: bool) -> None:
        for opening in self.outbox.openings(10):
            if heard:
                self.server.open(opening)
                self.outbox.opened(opening["task_id"])
        batch = None if self.flight else self.outbox.take(now=self.now, budget=600)
        if not heard:
            self.lose(restarted=False)
        elif batch is not None:
            self.flight = (batch, self.server.report(json.loads(json.dumps(batch.reports))))

    def lose(self, *, restarted: bool) -> None:
        self.flight = None
        self.outbox.lose()
        self.outbox.reconnected(restarted=restarted)

    def finish(self) -> None:
        for work in self.works:
            self.outbox.finish(work.task_id, {"status": "completed", "result": work.task_id})

    def deliver(self) -> None:
        for _ in range(2_000):
            self.step("talk", 0)
            self.step("answer", 0)
            if not len(self.outbox):
                return
        pytest.fail(f"this was never said: {str(self.outbox.rest())[:2_000]}")

    def check(self) -> None:
        for work in self.works:
            task = self.server.tasks[work.task_id]
            assert tuple(task["end"]) == ("completed", work.task_id)
            assert all(task["state"].get(name) == value for name, value in work.state.items())
            assert task["steps"][-1:] == ([work.step] if work.step else [])
            if self.forgot:
                assert len(set(task["log"])) == len(task["log"])
            else:
                assert task["log"] == work.log
        assert self.server.refused == []


ACTIONS = st.tuples(
    st.sampled_from(
        ["count", "message", "step", "log", "talk", "talk, unheard", "answer", "lose", "store"]
    ),
    st.integers(0, 50),
)
DISASTERS = st.tuples(st.sampled_from(["kill", "forget"]), st.just(0))


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 3), st.lists(ACTIONS, max_size=60))
def test_any_losses_end_with_the_true_state_once(
    tasks: int, actions: list[tuple[str, int]]
) -> None:
    story = Story(tasks)
    for action, number in actions:
        story.step(action, number)

    story.finish()
    story.deliver()

    story.check()


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 3), st.lists(ACTIONS | DISASTERS, max_size=60))
def test_a_server_that_is_killed_or_forgets_ends_with_the_true_state_too(
    tasks: int, actions: list[tuple[str, int]]
) -> None:
    story = Story(tasks)
    for action, number in actions:
        story.step(action, number)

    story.finish()
    story.deliver()

    story.check()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3), st.lists(ACTIONS, max_size=40))
def test_the_next_process_delivers_what_the_spool_has_kept(
    tasks: int, actions: list[tuple[str, int]]
) -> None:
    story = Story(tasks)
    for action, number in actions:
        story.step(action, number)
    story.finish()

    records = json.loads(json.dumps(story.outbox.rest()))
    story.flight = None
    story.outbox = Outbox(story.numbers)
    adopted = [story.outbox.adopt(record) for record in records]

    assert all(adopted)
    story.deliver()
    story.check()


def test_a_long_outage_keeps_memory_bounded_and_says_what_was_left_out() -> None:
    outbox = Outbox(itertools.count(1))
    work = Work("long", outbox)
    for n in range(20_000):
        work.change(current=n)
        outbox.merge([{"task_id": "long", "log": ["x" * 1_000]}])
        if n % 100 == 0:
            work.enter(STEPS[n % 3])
    server = ServerModel()
    story = Story(1)
    story.outbox, story.works, story.server = outbox, [work], server
    outbox.finish("long", {"status": "completed", "result": "long"})

    story.deliver()

    log = server.tasks["long"]["log"]
    assert len(log) <= 5_001
    assert "lines left out" in log[0]
    assert log[-1] == "x" * 1_000


def test_silence_is_broken_by_a_sign_of_life_within_a_third_of_the_lease() -> None:
    outbox = Outbox(itertools.count(1))
    outbox.open({"task_id": "short", "name": "short", "lease_s": 3}, at=100.0)
    outbox.open({"task_id": "usual", "name": "usual"}, at=100.0)
    for task_id in ("short", "usual"):
        outbox.openings(1)
        outbox.opened(task_id)

    assert outbox.take(now=100.9, budget=1_000) is None
    early = outbox.take(now=101.0, budget=1_000)
    assert early is not None
    assert early.reports == [{"task_id": "short", "reporter_seq": 1}]
    outbox.acknowledge(early, now=101.0)
    late = outbox.take(now=110.0, budget=1_000)
    assert late is not None
    assert sorted(late.counts) == ["short", "usual"]


def test_a_batch_stays_within_its_bytes_and_everybody_has_a_turn() -> None:
    outbox = Outbox(itertools.count(1))
    works = [Work(f"task{n}", outbox) for n in range(10)]
    for work in works:
        for _ in range(50):
            work.write()
    outbox.openings(10)
    for work in works:
        outbox.opened(work.task_id)

    heard: set[str] = set()
    while (batch := outbox.take(now=1.0, budget=2_000)) is not None:
        assert len(json.dumps(batch.reports, separators=(",", ":"))) <= 2_002
        heard |= set(batch.counts)
        outbox.acknowledge(batch, now=1.0)
    assert len(heard) == 10


def test_a_refused_result_still_lets_the_task_end() -> None:
    outbox = Outbox(itertools.count(1))
    work = Work("big", outbox)
    outbox.openings(1)
    outbox.opened("big")
    outbox.finish("big", {"status": "completed", "result": "too large"})
    batch = outbox.take(now=1.0, budget=9_000)
    assert batch is not None

    final = outbox.acknowledge(
        batch, [{"task_id": work.task_id, "error": {"code": "too_large"}}], now=1.0
    )

    assert final == {"big": {"code": "too_large"}}
    again = outbox.take(now=1.0, budget=9_000)
    assert again is not None
    assert [r.get("result") for r in again.reports] == [None] * len(again.reports)
    assert again.reports[-1]["status"] == "completed"


@pytest.mark.parametrize("code", ["unavailable", "rate_limited"])
def test_what_is_refused_for_now_is_said_again_word_for_word(code: str) -> None:
    outbox = Outbox(itertools.count(1))
    work = Work("again", outbox)
    outbox.openings(1)
    outbox.opened("again")
    work.write()
    batch = outbox.take(now=1.0, budget=9_000)
    assert batch is not None

    assert not outbox.acknowledge(batch, [{"task_id": "again", "error": {"code": code}}], now=1.0)
    again = outbox.take(now=2.0, budget=9_000)

    assert again is not None
    assert again.reports == batch.reports


def test_a_task_that_somebody_else_has_ended_is_dropped() -> None:
    outbox = Outbox(itertools.count(1))
    work = Work("over", outbox)
    outbox.openings(1)
    outbox.opened("over")
    work.write()
    batch = outbox.take(now=1.0, budget=9_000)
    assert batch is not None

    outbox.acknowledge(batch, [{"task_id": "over", "error": {"code": "task_ended"}}], now=1.0)
    work.write()

    assert len(outbox) == 0
    assert outbox.settled


def test_numbers_go_on_above_those_of_another_process() -> None:
    outbox = Outbox(iter(range(5, 100)))
    outbox.open({"task_id": "a", "name": "n"})
    outbox.openings(1)
    outbox.opened("a", number=40)
    outbox.merge([{"task_id": "a", "current": 1}])
    batch = outbox.take(now=0.0, budget=10_000)
    assert batch is not None
    assert batch.reports[0]["reporter_seq"] == 41


def test_what_is_only_announced_is_forgotten_once_it_is_known() -> None:
    outbox = Outbox(itertools.count(1))
    outbox.open({"task_id": "a", "name": "n"}, only=True)
    assert len(outbox.openings(9)) == 1
    outbox.opened("a")
    assert len(outbox) == 0


def test_what_rests_gives_signs_of_life_without_numbers() -> None:
    outbox = Outbox(itertools.count(1), beat_s=1.0)
    outbox.open({"task_id": "a", "name": "n"})
    outbox.openings(1)
    outbox.opened("a")
    outbox.rest_from("a")
    batch = outbox.take(now=5.0, budget=10_000)
    assert batch is not None
    assert batch.reports == [{"task_id": "a"}]
