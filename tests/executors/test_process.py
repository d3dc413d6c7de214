"""What only worker processes promise."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from socketprogress.core.ports import Job, Outcome
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.executors.process import ProcessExecutor

shared = runpy.run_path(str(Path(__file__).with_name("recorder.py")))
Recorder, make_job, until_gone = shared["Recorder"], shared["make_job"], shared["until_gone"]

Submit = Callable[..., Any]


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(workers=1, ask_s=0.2, term_s=0.2)
    yield made
    made.close(5.0)


@pytest.fixture
def submit(executor: ProcessExecutor, tmp_path: Path) -> Submit:
    def submit(body: str, args: Any = None, **options: Any) -> Any:
        told = Recorder()
        return told, executor.submit(make_job(body, tmp_path, args, **options), told)

    return submit


def result_of(submit: Submit, body: str, args: Any = None) -> Any:
    told, _ = submit(body, args)
    outcome = told.end()
    assert outcome.status is Status.COMPLETED, outcome
    return outcome.result


def lost(how: str) -> TaskError:
    return TaskError("worker_lost", f"the worker process died: {how}")


@pytest.mark.parametrize(
    ("body", "args", "how"),
    [
        ("exit_hard", {"code": 3}, "exit code 3"),
        ("exit_hard", {"code": 0}, "exit code 0"),
        ("kill_itself", {}, "killed by SIGKILL"),
        ("segfault", {}, "killed by SIGSEGV"),
    ],
)
def test_a_worker_that_dies_fails_its_task_at_once_and_tells_how(
    submit: Submit, body: str, args: Any, how: str
) -> None:
    # When
    told, _ = submit(body, args)
    after, _ = submit("quick", {"number": 7})

    # Then
    assert told.end() == Outcome(Status.FAILED, error=lost(how))
    assert after.end().result == 7


def test_the_last_words_of_a_dying_worker_are_in_the_log(submit: Submit) -> None:
    told, _ = submit("exit_hard", {"code": 1})
    told.end()
    assert told.lines == ["last words"]


def test_a_segfault_leaves_the_python_stack_in_the_log(submit: Submit) -> None:
    told, _ = submit("segfault")
    told.end()
    assert any("Segmentation fault" in line for line in told.lines)


def test_a_worker_killed_from_outside_fails_its_task_although_its_children_live_on(
    submit: Submit,
) -> None:
    # Given
    told, _ = submit("with_children")
    told.message("running")
    told.until(lambda: len(told.lines) == 3)
    children = [int(line.split()[1]) for line in told.lines]
    worker = parent_of(children[0])

    # When
    os.kill(worker, signal.SIGKILL)

    # Then
    assert told.end().error == lost("killed by SIGKILL")
    until_gone(children)


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[1])


@pytest.mark.parametrize("body", ["spin", "stubborn"])
def test_a_body_that_hears_nothing_is_cancelled_by_force(submit: Submit, body: str) -> None:
    # Given
    told, running = submit(body)
    told.message("running")

    # When
    running.cancel()

    # Then
    assert told.end() == Outcome(Status.CANCELLED)


def test_cancelling_kills_children_in_other_sessions_and_orphans_too(submit: Submit) -> None:
    # Given
    told, running = submit("with_children")
    told.message("running")
    told.until(lambda: len(told.lines) == 3)
    children = [int(line.split()[1]) for line in told.lines]

    # When
    running.cancel()

    # Then
    assert told.end() == Outcome(Status.CANCELLED)
    until_gone(children)


def test_children_that_a_body_leaves_behind_are_killed(submit: Submit) -> None:
    child = result_of(submit, "leave_children")
    until_gone([child])
    assert result_of(submit, "quick", {"number": 1}) == 1


def test_a_sigterm_from_outside_interrupts_the_body(submit: Submit) -> None:
    told, _ = submit("terminate_itself")
    outcome = told.end()
    assert outcome.status is Status.CANCELLED
    assert outcome.error == TaskError("interrupted", "the worker process was ended by SIGTERM")


def test_a_worker_imports_the_core_and_its_own_side_of_the_executors_only(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    # Given
    file = tmp_path / "lean.py"
    file.write_text("import sys\ndef f(): return sorted(sys.modules)\n")

    # When
    told = Recorder()
    executor.submit(
        Job(task_id="t", function=f"{file}:f", call=None, args={}, output_dir=tmp_path), told
    )
    modules = told.end().result

    # Then
    assert "lean" in modules
    others = {"flask", "eventlet", "gevent", "socketio", "engineio", "asyncio", "sqlite3", "ssl"}
    assert not others & set(modules)
    ours = {name.split(".")[1] for name in modules if name.startswith("socketprogress.")}
    assert ours == {"core", "executors"}


def test_prints_of_every_kind_are_log_lines_and_never_disturb(submit: Submit) -> None:
    # When
    told, _ = submit("talk")

    # Then
    assert told.end() == Outcome(Status.COMPLETED)
    assert sorted(told.lines) == sorted(
        [
            "from print",
            "from stderr",
            "from the descriptor",
            "from C",
            "from a child",
            " 90 %",
            '{"ended": {"status": "failed"}}',
            "unfinished",
        ]
    )


def test_a_flood_of_prints_is_cut_with_a_line_that_says_so(submit: Submit) -> None:
    told, _ = submit("flood", {"lines": 200_000})
    assert told.end().result == "done"
    assert len(told.lines) < 100_000
    assert any("lines left out" in line for line in told.lines)
    assert told.lines[-1] == "199999"


def test_a_flood_of_steps_ends_with_the_last_one(submit: Submit) -> None:
    told, _ = submit("many_steps", steps={"Scan": 1.0, "Pack": 1.0})
    assert told.end().status is Status.COMPLETED
    assert told.last("step") == "Pack"


def test_a_worker_is_used_again_and_finds_its_process_as_it_was(submit: Submit) -> None:
    # Given
    before = result_of(submit, "state")

    # When
    result_of(submit, "spoil")

    # Then
    assert result_of(submit, "state") == before
    assert before["cwd"] == str(Path.cwd())
    assert before["stdin"] == ""
    assert before["pythonpath"] == os.environ.get("PYTHONPATH")


@pytest.mark.parametrize("body", ["close_descriptors", "close_streams"])
def test_a_worker_whose_output_was_closed_is_not_used_again(submit: Submit, body: str) -> None:
    worker = result_of(submit, body)
    told, _ = submit("talk")
    assert told.end().status is Status.COMPLETED
    assert "from print" in told.lines
    assert result_of(submit, "pid") != worker


def test_a_worker_with_a_thread_left_in_it_is_not_used_again(submit: Submit) -> None:
    assert result_of(submit, "leave_thread") != result_of(submit, "pid")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_works_in_a_body(submit: Submit, method: str) -> None:
    assert result_of(submit, "with_multiprocessing", {"method": method}) == [1, 4, 9]


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("/no/such/file.py:f", "FileNotFoundError: [Errno 2] No such file or directory"),
        ("json:no_such_function", "AttributeError: module 'json' has no attribute"),
    ],
)
def test_what_cannot_be_imported_fails_with_its_traceback(
    executor: ProcessExecutor, tmp_path: Path, reference: str, error: str
) -> None:
    # When
    told = Recorder()
    job = Job(task_id="t", function=reference, call=None, args={}, output_dir=tmp_path)
    executor.submit(job, told)
    outcome = told.end()

    # Then
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.message.startswith(error)
    assert outcome.traceback[-1].startswith(error)
    assert told.order == ["started", "ended"]


def test_a_file_that_was_changed_is_loaded_anew(executor: ProcessExecutor, tmp_path: Path) -> None:
    # Given
    file = tmp_path / "mine.py"

    def run() -> Any:
        told = Recorder()
        job = Job(task_id="t", function=f"{file}:f", call=None, args={}, output_dir=tmp_path)
        executor.submit(job, told)
        return told.end().result

    file.write_text("import os\ndef f(): return ['old', os.getpid()]\n")
    old, pid = run()
    assert run() == [old, pid]

    # When
    file.write_text("import os\ndef f(): return ['newer', os.getpid()]\n")

    # Then
    newer, other_pid = run()
    assert (old, newer) == ("old", "newer")
    assert pid != other_pid


def test_a_module_beside_the_server_is_found_by_the_workers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    (tmp_path / "beside_the_server.py").write_text("def f(): return 'found'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    executor = ProcessExecutor(workers=1)

    # When
    told = Recorder()
    reference = "beside_the_server:f"
    executor.submit(
        Job(task_id="t", function=reference, call=None, args={}, output_dir=tmp_path), told
    )

    # Then
    assert told.end().result == "found"
    executor.close(5.0)


def test_a_warm_executor_has_a_worker_before_the_first_job(
    executor: ProcessExecutor, submit: Submit
) -> None:
    # Given
    before = set(children_of(os.getpid()))
    executor.warm()
    while not (started := set(children_of(os.getpid())) - before):
        os.sched_yield()

    # Then
    assert {result_of(submit, "pid")} == started


def test_several_workers_run_bodies_side_by_side(tmp_path: Path) -> None:
    # Given
    executor = ProcessExecutor(workers=2)
    all_told = [Recorder() for _ in range(2)]

    # When
    runs = [executor.submit(make_job("until_cancelled", tmp_path), told) for told in all_told]

    # Then
    for told in all_told:
        told.message("running")
    for run in runs:
        run.cancel()
    assert {told.end().status for told in all_told} == {Status.CANCELLED}
    executor.close(5.0)


def test_closing_leaves_no_process_behind(tmp_path: Path) -> None:
    # Given
    others = children_of(os.getpid())
    executor = ProcessExecutor(workers=2)
    stubborn, parent = Recorder(), Recorder()
    executor.submit(make_job("stubborn", tmp_path), stubborn)
    executor.submit(make_job("with_children", tmp_path), parent)
    stubborn.message("running")
    parent.until(lambda: len(parent.lines) == 3)
    children = [int(line.split()[1]) for line in parent.lines]
    workers = set(children_of(os.getpid())) - set(others)

    # When
    executor.close(2.0)

    # Then
    assert stubborn.end().status is Status.CANCELLED
    assert parent.end().status is Status.CANCELLED
    until_gone([*children, *workers])


def children_of(pid: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    found = []
    for child in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # gone since it was listed
            if parent_of(child) == pid:
                found.append(child)
    return found


SERVER = """
import runpy, sys, threading
from pathlib import Path
from socketprogress.executors.process import ProcessExecutor
shared = runpy.run_path(sys.argv[1])
told = shared["Recorder"]()
executor = ProcessExecutor(workers=1)
executor.submit(shared["make_job"]("with_children", Path(sys.argv[2])), told)
told.until(lambda: len(told.lines) == 3)
children = [line.split()[1] for line in told.lines]
worker = Path(f"/proc/{children[0]}/stat").read_text().rpartition(")")[2].split()[1]
print(worker, *children, flush=True)
threading.Event().wait()
"""


def test_workers_and_their_children_die_with_a_killed_server(tmp_path: Path) -> None:
    # Given
    recorder = str(Path(__file__).with_name("recorder.py"))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, recorder, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    pids = [int(word) for word in server.stdout.readline().split()]
    assert len(pids) == 4

    # When
    server.kill()
    server.communicate()

    # Then
    until_gone(pids)


PATCHED = """
import runpy, sys, warnings
from pathlib import Path
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet
native = eventlet.patcher.original("threading")
eventlet.monkey_patch()
from socketprogress.executors.process import ProcessExecutor
from socketprogress.executors.thread import ThreadExecutor
shared = runpy.run_path(sys.argv[1])

class Ends(list):
    def started(self): pass
    def reports(self, reports): pass
    def ended(self, outcome): self.append(outcome)

with eventlet.Timeout(30):
    for executor in (ProcessExecutor(workers=1, threading=native), ThreadExecutor(threading=native)):
        for cancel in (False, True):
            ends = Ends()
            body = "until_cancelled" if cancel else "in_steps"
            job = shared["make_job"](body, Path(sys.argv[2]), steps={"Scan": 1.0, "Pack": 1.0})
            running = executor.submit(job, ends)
            if cancel:
                running.cancel()
            while not ends:
                eventlet.sleep(0.001)
            print(ends[0].status.value)
        executor.close(5.0)
"""


def test_bodies_run_and_are_cancelled_under_a_monkey_patched_application(tmp_path: Path) -> None:
    recorder = str(Path(__file__).with_name("recorder.py"))
    done = subprocess.run(
        [sys.executable, "-c", PATCHED, recorder, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["completed", "cancelled"] * 2, done.stderr
