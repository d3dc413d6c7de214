"""`Client`: the same tasks from a script and from asyncio, through whatever happens to the server."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import multiprocessing
import os
import pickle
import signal
import threading
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from socketprogress import Client, TaskCancelled, TaskFailure
from socketprogress.client import watcher
from socketprogress.client.watcher import TaskView
from socketprogress.core import errors

Start = Callable[..., Any]
Done = TypeVar("Done")
JOBS = str(Path(__file__).parent.parent / "server" / "jobs.py")


def in_a_loop(work: Coroutine[Any, Any, Done]) -> Done:
    """Run a coroutine in a loop and a thread of its own: a browser's test leaves its loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def put(url: str, task_id: str, **fields: Any) -> None:
    """Report on a task as curl would."""
    request = urllib.request.Request(  # noqa: S310 - the test's own server
        f"{url}/api/tasks/{task_id}",
        method="PUT",
        data=json.dumps(fields).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=20).close()  # noqa: S310 - as above


@pytest.fixture(scope="module")
def running(lasting_server: Start) -> Any:
    """A server with the jobs of the server's tests."""
    return lasting_server("--tasks", JOBS, "--workers", "12")


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    """A client of `running`."""
    with Client(running.url) as client:
        yield client


# -- watching --------------------------------------------------------------------------------------


def test_states_rise_to_the_end_which_comes_last_and_once(client: Client) -> None:
    states = list(client.start("count", total=50).watch())

    seqs = [state.seq for state in states]
    assert seqs == sorted(set(seqs))
    assert [state.ended for state in states] == [False] * (len(states) - 1) + [True]
    assert (states[-1].status, states[-1].progress, states[-1].result) == ("completed", 100.0, 50)
    assert (states[-1].name, states[-1].current, states[-1].total) == ("count", 50, 50)


def test_a_task_that_is_over_in_an_instant_shows_its_end(client: Client) -> None:
    for name in ("instant", "instant_thread") * 5:
        task = client.start(name)
        assert [state.status for state in task.watch()][-1] == "completed"
        assert task.result() == 42
        assert [state.status for state in task.watch()] == ["completed"]


def test_asyncio_sees_what_a_script_sees(running: Any) -> None:
    async def watch() -> tuple[list[TaskView], Any]:
        async with Client(running.url) as client:
            task = await asyncio.to_thread(client.start, "count", total=30)
            states = [state async for state in task.watch()]
            return states, await task.wait()

    states, result = in_a_loop(watch())

    assert result == states[-1].result == 30
    seqs = [state.seq for state in states]
    assert seqs == sorted(set(seqs))
    assert [state.ended for state in states] == [False] * (len(states) - 1) + [True]


def test_two_threads_and_an_event_loop_watch_the_same_task(client: Client) -> None:
    task = client.start("count", total=40)
    ends: list[list[str]] = []

    def watch() -> None:
        ends.append([state.status for state in task.watch()])

    async def watch_in_loop() -> None:
        ends.append([state.status async for state in task.watch()])

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    in_a_loop(watch_in_loop())
    for thread in threads:
        thread.join()

    assert [end[-1] for end in ends] == ["completed"] * 3


def test_a_watch_may_be_left_and_begun_again(client: Client) -> None:
    task = client.start("hold")
    for state in task.watch():
        if state.progress == 50.0:
            break
    with task.watch() as states:
        assert next(states).progress == 50.0
    assert list(states) == []

    task.cancel()
    assert [state.status for state in task.watch()][-1] == "cancelled"


def test_a_slow_watcher_gets_the_last_state_next(client: Client, api_of: Any, running: Any) -> None:
    task = client.start("count", total=20)
    states = task.watch()
    assert not next(states).ended
    api_of(running.url).ended(task.task_id)
    client.task(task.task_id).result()  # by now the end has come to this client

    assert [state.status for state in states] == ["completed"]


def test_a_watch_ends_in_time_though_the_task_goes_on(client: Client) -> None:
    task = client.start("hold")

    assert list(task.watch(timeout=0.3))[-1].ended is False
    with pytest.raises(TimeoutError, match=f"task {task.task_id} is in progress after 0.3 s"):
        task.result(timeout=0.3)
    with pytest.raises(TimeoutError, match="in progress"):
        in_a_loop(task.wait(timeout=0.3))
    task.cancel()


def test_a_cancelled_asyncio_task_leaves_its_watch(running: Any) -> None:
    async def watch(client: Client, task_id: str) -> None:
        async for _ in client.task(task_id).watch():
            pass

    async def main() -> None:
        async with Client(running.url) as client:
            held = await asyncio.to_thread(client.start, "hold")
            watching = asyncio.create_task(watch(client, held.task_id))
            await asyncio.to_thread(held.state)
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
            await asyncio.to_thread(held.cancel)
            with pytest.raises(TaskCancelled):
                await held.wait()

    in_a_loop(main())


def test_the_server_stops_telling_of_what_nobody_watches(client: Client) -> None:
    # Given a client that has started a task and watched another for a moment
    held = client.start("hold")
    for _ in client.start("count", total=10).watch():
        pass
    watches = client.connection._watches
    # When it looks no more, its thread has left the rooms and ended
    thread = watches._thread
    assert thread is not None
    thread.join(20)
    assert watches._thread is None
    # Then a later watch is told of everything again
    states = held.watch()
    assert not next(states).ended
    held.cancel()
    assert [state.status for state in states][-1] == "cancelled"


# -- ends ------------------------------------------------------------------------------------------


def test_a_failed_task_raises_its_code_and_message(client: Client) -> None:
    raised = client.start("raise_late")
    vanished = client.start("vanish")

    with pytest.raises(TaskFailure, match="ValueError: no good") as caught:
        raised.result()
    assert caught.value.code == "exception"
    with pytest.raises(TaskFailure) as caught:
        in_a_loop(vanished.wait())
    assert caught.value.code == "worker_lost"


def test_another_client_cancels_and_who_waits_is_told(running: Any, client: Client) -> None:
    task = client.start("hold")
    with Client(running.url) as other:
        for state in task.watch():
            if state.progress == 50.0 and not state.cancel_requested:
                assert not other.task(task.task_id).cancel().ended
        with pytest.raises(errors.TaskEnded):
            other.task(task.task_id).cancel()

    with pytest.raises(TaskCancelled):
        task.result()


def test_retry_starts_the_same_again(client: Client) -> None:
    first = client.start("count", total=3, hz=1000.0)
    assert first.result() == 3

    second = first.retry()

    assert second.task_id != first.task_id
    assert second.result() == 3


def test_the_whole_log_is_read_page_by_page(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PAGE", 7)
    task = client.start("lines", count=30)
    task.result()

    async def read() -> list[str]:
        return [line async for line in task.log()]

    wanted = [f"line {number}" for number in range(30)]
    assert list(task.log()) == in_a_loop(read()) == wanted


# -- starting and listing --------------------------------------------------------------------------


def test_start_takes_paths_titles_tags_and_an_id_of_ones_own(running: Any, client: Client) -> None:
    task = client.start(
        "shaped",
        title="My shape",
        task_id="mine",
        tags=["a"],
        box={"size": 3},
        where=running.root / "x",
    )
    again = client.start("shaped", task_id="mine", args={"box": {"size": 4}})

    assert task.result()["size"] == again.result()["size"] == 3
    state = task.state()
    assert (state.task_id, state.title, state.tags) == ("mine", "My shape", ["a"])
    assert task.url == f"{running.url}/tasks/mine"
    with urllib.request.urlopen(task.url, timeout=20) as page:  # noqa: S310 - as above
        assert page.status == 200


def test_every_task_of_a_list_comes_once_over_all_pages(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = {client.start("instant_thread", title="paged").task_id for _ in range(7)}
    for task_id in started:
        client.task(task_id).result()
    monkeypatch.setattr(watcher, "PAGE", 3)

    async def fetch() -> list[str]:
        return [task.task_id async for task in client.list(search="paged")]

    found = [task.task_id for task in client.list(search="paged", status=["completed", "failed"])]
    assert sorted(found) == sorted(started)
    assert sorted(in_a_loop(fetch())) == sorted(started)
    assert list(client.list(search="paged", status="failed")) == []


def test_definitions_say_what_can_be_started(client: Client) -> None:
    found = {definition["name"]: definition for definition in client.definitions()}

    assert {"checksum", "count"} <= set(found)
    assert found["count"]["schema"]["properties"]["total"]["default"] == 50


def test_a_view_is_read_by_attribute_and_by_key_and_never_changes(client: Client) -> None:
    task = client.start("instant_thread")
    task.result()
    view = task.state()

    assert view.status == view["status"] == dict(view)["status"] == "completed"
    with pytest.raises(AttributeError, match="never changes"):
        view.status = "failed"
    with pytest.raises(AttributeError, match="has no 'speed'"):
        _ = view.speed
    with pytest.raises(AttributeError, match="has no 'steps'"):
        _ = next(iter(client.list())).steps
    assert copy.deepcopy(view) == pickle.loads(pickle.dumps(view)) == view  # noqa: S301 - its own
    assert repr(view) == f"<TaskView {task.task_id} 'instant_thread' completed 100 %>"


# -- refusals --------------------------------------------------------------------------------------


def test_an_unknown_task_is_told_by_whatever_is_asked_of_it(client: Client) -> None:
    task = client.task("nowhere")

    for ask in (task.state, task.result, task.cancel, task.retry, lambda: list(task.log())):
        with pytest.raises(errors.UnknownTask):
            ask()
    with pytest.raises(errors.UnknownTask):
        in_a_loop(task.wait())
    with pytest.raises(errors.InvalidPayload) as caught:
        client.task("not/valid").result()
    assert caught.value.field == "task_id"


def test_a_bad_start_names_what_is_wrong(client: Client) -> None:
    with pytest.raises(errors.UnknownDefinition):
        client.start("nothing")
    with pytest.raises(errors.InvalidArguments) as caught:
        client.start("shaped", box={"size": "large"})
    assert caught.value.field == "box.size"
    with pytest.raises(errors.InvalidPayload, match="set"):
        client.start("shaped", box={1, 2})
    held = client.start("single")
    with pytest.raises(errors.AlreadyRunning) as full:
        client.start("single")
    assert full.value.running == [held.task_id]
    held.cancel()


def test_a_wrong_token_is_refused_and_a_right_one_is_found_in_the_url(server: Start) -> None:
    running = server("--token", "the-right-one-of-them", "--tasks", JOBS)

    for token in (None, "wrong"):
        with pytest.raises(errors.Unauthorized), Client(running.url, token=token):
            pass
        with pytest.raises(errors.Unauthorized):
            Client(running.url, token=token).task("any").result()
        with pytest.raises(errors.Unauthorized):
            in_a_loop(Client(running.url, token=token).task("any").wait())
    with Client(running.url, token="the-right-one-of-them") as client:
        assert client.start("instant").result() == 42
    with Client(running.url.replace("://", "://:the-right-one-of-them@")) as client:
        assert client.start("instant").result() == 42
        assert client.url == running.url


def test_without_a_server_the_error_says_so(running: Any, monkeypatch: Any, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"  # the discard port
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("SOCKETPROGRESS_URL", raising=False)

    with pytest.raises(errors.Unavailable, match=f"no server answers at {nobody}"):
        Client(nobody).start("checksum")
    with pytest.raises(errors.Unavailable, match=f"no server answers at {nobody}"):
        in_a_loop(Client(nobody).task("any").wait())
    with pytest.raises(errors.Unavailable, match="no server of yours is running"):
        Client().list().__iter__().__next__()
    with pytest.raises(errors.ConfigurationError, match="'ftp://x' must be a URL"):
        Client("ftp://x").definitions()
    monkeypatch.setenv("SOCKETPROGRESS_URL", running.url)
    assert Client().start("instant").result() == 42


def test_a_closed_client_says_so_and_ends_its_watches(running: Any) -> None:
    client = Client(running.url)
    task = client.start("hold")
    states = task.watch()
    next(states)
    threading.Timer(0.1, client.close).start()

    with pytest.raises(errors.Unavailable, match="closed"):
        list(states)
    with pytest.raises(errors.Unavailable, match="closed"):
        task.cancel()
    with pytest.raises(errors.Unavailable, match="closed"):
        task.result()
    with Client(running.url) as other:
        other.task(task.task_id).cancel()


# -- outages ---------------------------------------------------------------------------------------


def test_fifty_watches_in_one_event_loop_follow_a_killed_server(
    server: Start, any_mode: str
) -> None:
    running = server(mode=any_mode)
    ids = [f"job{number}" for number in range(50)]
    for task_id in ids:
        put(running.url, task_id, name="far", total=4, current=1)

    async def watch(client: Client, task_id: str, seen: asyncio.Semaphore) -> list[TaskView]:
        states = []
        async for state in client.task(task_id).watch():
            states.append(state)
            seen.release()
        return states

    async def main() -> list[list[TaskView]]:
        seen = asyncio.Semaphore(0)
        async with Client(running.url) as client:
            watches = [asyncio.create_task(watch(client, task_id, seen)) for task_id in ids]
            for _ in ids:
                await seen.acquire()
            # When the server is killed, starts again, and the reporters go on
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.start)
            for task_id in ids:
                await asyncio.to_thread(put, running.url, task_id, current=3)
                await asyncio.to_thread(put, running.url, task_id, status="completed", current=4)
            return await asyncio.gather(*watches)

    for states in in_a_loop(main()):
        # Then everybody sees the end, in the new epoch, once
        assert states[0].current == 1
        assert (states[-1].status, states[-1].current) == ("completed", 4)
        assert [state.ended for state in states].count(True) == 1
        assert states[0].epoch != states[-1].epoch
        places = [(state.epoch, state.seq) for state in states]
        assert len(places) == len(set(places))


def test_an_end_that_nobody_saw_is_seen_after_the_restart(server: Start) -> None:
    running = server()
    put(running.url, "far", name="far", total=4, current=1)
    outages: list[errors.WireError | None] = []
    with Client(running.url) as client:
        states = client.task("far").watch(on_outage=outages.append)
        next(states)
        running.kill()
        running.start()
        put(running.url, "far", status="failed", error="the disk is full")

        assert [state.status for state in states][-1] == "failed"
        with pytest.raises(TaskFailure, match="the disk is full"):
            client.task("far").result()
    assert outages[-1] is None


def test_a_task_that_the_restarted_server_does_not_know_ends_the_watch(server: Start) -> None:
    running = server("--store", "memory:")
    put(running.url, "far", name="far", total=4, current=1)
    with Client(running.url) as client:
        states = client.task("far").watch(patience_s=60.0)
        next(states)
        running.kill()
        running.start()

        with pytest.raises(errors.UnknownTask):
            list(states)


def test_a_task_that_is_opened_again_after_the_restart_is_watched_on(server: Start) -> None:
    # Given a server that forgets everything, and a reporter that will find that out a bit later
    running = server("--store", "memory:")
    put(running.url, "far", name="far", total=4, current=1)
    with Client(running.url) as client:
        back = threading.Event()
        states = client.task("far").watch(on_outage=lambda error: error is None and back.set())
        next(states)
        running.kill()
        running.start()
        with pytest.raises(errors.UnknownTask):
            client.task("far").state()
        # When it reports again
        put(running.url, "far", name="far", total=4, current=4, status="completed")
        # Then the watch goes on to the end
        assert [state.status for state in states][-1] == "completed"
        assert back.is_set()


def test_patience_ends_in_asyncio_too(server: Start) -> None:
    running = server()
    put(running.url, "far", name="far")

    async def main() -> None:
        async with Client(running.url) as client:
            states = client.task("far").watch(patience_s=0.0)
            await anext(states)
            await asyncio.to_thread(running.kill)
            with pytest.raises(errors.Unavailable, match="no server answers"):
                await anext(states)

    in_a_loop(main())


def test_a_server_inside_of_another_application_is_named_by_its_path(
    script: Start, tmp_path: Path
) -> None:
    host = script(
        """
        from pathlib import Path
        from flask import Flask
        from werkzeug.serving import make_server
        from socketprogress import SocketProgress
        from socketprogress.server.settings import Settings

        app = Flask("host")
        here = Path.cwd()
        settings = Settings(async_mode="threading", root=here, data=here / "data")
        embedded = SocketProgress(app, settings=settings)

        @embedded.task(executor="thread")
        def double(progress: Reporter, number: int) -> int:
            return 2 * number

        server = make_server("127.0.0.1", 0, app, threaded=True)
        say(server.server_port)
        server.serve_forever()
        """
    )
    with Client(f"http://127.0.0.1:{host.hear()}/progress/") as client:
        task = client.start("double", number=21)
        assert [state.status for state in task.watch()][-1] == "completed"
        assert task.result() == 42
        with urllib.request.urlopen(task.url, timeout=20) as page:  # noqa: S310 - the test's own
            assert page.status == 200


# -- processes -------------------------------------------------------------------------------------


def _result_of(client: Client, answers: Any) -> None:
    answers.send(client.start("instant").result())


def test_a_forked_child_has_a_connection_of_its_own(client: Client) -> None:
    held = client.start("hold")
    states = held.watch()
    next(states)
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=_result_of, args=(client, theirs))
    child.start()

    assert ours.poll(30)
    assert ours.recv() == 42
    child.join()
    assert child.exitcode == 0
    held.cancel()
    assert [state.status for state in states][-1] == "cancelled"


def test_who_never_closes_a_client_gets_no_warning(running: Any, script: Start) -> None:
    run = script(
        """
        import gc
        from socketprogress import Client

        task = Client().start("instant")
        print(task.result())
        del task
        gc.collect()
        kept = Client()
        print(next(kept.start("hold").watch()).name)
        """,
        running.url,
        PYTHONDEVMODE="1",
    )
    said = [run.hear(), run.hear()]

    assert run.end() == 0
    assert said == ["42", "hold"]
    assert run.stderr == ""


def test_a_client_that_is_let_go_of_leaves_nothing_behind(running: Any) -> None:
    before = set(threading.enumerate())
    client = Client(running.url)
    assert client.start("instant").result() == 42
    own = set(threading.enumerate()) - before
    del client
    gc.collect()

    assert own
    for thread in own:
        thread.join(20)
        assert not thread.is_alive(), thread


def test_a_killed_server_leaves_no_socket_open(server: Start) -> None:
    # Given a server that is killed with a question unread: its host resets the connection
    running = server()
    with Client(running.url) as client, ThreadPoolExecutor(1) as pool:
        assert client.definitions()
        os.kill(running.pid, signal.SIGSTOP)
        asked = pool.submit(client.definitions)
        _await_unread(running.port)
        running.kill()
        with pytest.raises(errors.Unavailable):
            asked.result()

    # Then what is left of it is no descriptor that somebody has to collect: that warning is an error
    gc.collect()


def _await_unread(port: int) -> None:
    """Wait until bytes lie unread in a connection to a port of this host."""
    pause = threading.Event()
    while True:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, queues, *_ = line.split()
            if int(local.split(":")[1], 16) == port and state == "01" and queues[-8:] != "0" * 8:
                return
        pause.wait(0.02)
