"""tqdm bars of many threads, processes and asyncio tasks, and how a cancellation reaches them."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

PATIENCE_S = 60.0
IMPORTS = """\
import multiprocessing, multiprocessing.pool
from concurrent import futures
from socketprogress import tqdm, trange
from socketprogress.asyncio import tqdm as atqdm
from socketprogress.contrib.concurrent import process_map, thread_map

"""
END = """
    except Cancelled as exc:
        say(f"cancelled by {type(exc).__name__}")
    else:
        say("run through")
"""


@pytest.fixture
def bars(script: Run) -> Run:
    """A function that runs a program with bars: its code, the server's URL, more environment."""
    return lambda code, url=None, **env: script(IMPORTS + textwrap.dedent(code), url, **env)


def titled(api: Any, *titles: str) -> list[dict[str, Any]]:
    """The newest tasks of these titles, as soon as there are any."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = {task["title"]: task for task in api.tasks()}
        if set(titles) <= set(found):
            return [found[title] for title in titles]
    pytest.fail(f"these bars never came: {titles}")


def run_out(run: Any, status: int = 0) -> None:
    assert run.end() == status, run.stderr


@pytest.fixture
def deliver(bars: Run, spooled: Callable[[], list[Path]]) -> Run:
    """A function that has the next process deliver what others could not before they ended."""

    def deliver(url: str) -> None:
        run = bars("bar = tqdm(total=1); say('open'); wait_for_go(); bar.close()", url)
        run.hear()
        deadline = time.monotonic() + PATIENCE_S
        while spooled():
            assert time.monotonic() < deadline
        run.go()
        run_out(run)

    return deliver


# -- cancellation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "work"),
    [
        ("fast", "for _ in tqdm(iter(int, 1), desc='fast'): pass"),
        ("slow", "for _ in trange(10**6, desc='slow', mininterval=999): time.sleep(0.01)"),
        ("many", "for _ in trange(10**9, desc='many', miniters=10**8): time.sleep(0.01)"),
        (
            "by hand",
            "bar = tqdm(desc='by hand')\n        while True: bar.update(); time.sleep(0.01)",
        ),
        (
            "swallowed",
            (
                "for _ in tqdm(iter(int, 1), desc='swallowed'):\n"
                "            try: 1 / 0\n"
                "            except Exception: continue"
            ),
        ),
        ("in a list", "list(tqdm(iter(int, 1), desc='in a list'))"),
        (
            "in a thread pool",
            (
                "bar = tqdm(desc='in a thread pool')\n"
                "        def work(_):\n"
                "            while True: bar.update(); time.sleep(0.01)\n"
                "        with futures.ThreadPoolExecutor(2) as pool: list(pool.map(work, 'ab'))"
            ),
        ),
        (
            "thread map",
            "thread_map(time.sleep, [0.02] * 9_999, max_workers=2, desc='thread map')",
        ),
        (
            "process map",
            "process_map(time.sleep, [0.02] * 999, max_workers=2, desc='process map')",
        ),
    ],
    ids=lambda value: value if len(value) < 20 else "",
)
def test_a_cancellation_ends_the_work(api: Any, bars: Run, title: str, work: str) -> None:
    run = bars(f"if __name__ == '__main__':\n    try:\n        {work}{END}", api.url)
    (task,) = titled(api, title)

    api.cancel(task["task_id"])

    assert run.hear() == "cancelled by Cancelled"
    run_out(run)
    task = api.ended(task["task_id"])
    assert (task["status"], task["error"]) == ("cancelled", None)
    assert task["total"] is None or task["current"] < task["total"]


@pytest.mark.parametrize(
    ("title", "work"),
    [
        ("async for", "async for _ in atqdm(rows(), desc='async for'): pass"),
        (
            "gather",
            "await atqdm.gather(*(asyncio.sleep(i / 50) for i in range(999)), desc='gather')",
        ),
        (
            "by hand",
            "bar = atqdm(desc='by hand')\nwhile True: bar.update(); await asyncio.sleep(0.01)",
        ),
    ],
    ids=lambda value: value if len(value) < 20 else "",
)
def test_a_cancellation_ends_asynchronous_work(api: Any, bars: Run, title: str, work: str) -> None:
    body = textwrap.indent(work.replace(f"'{title}'", f"'asynchronous {title}'"), "    ")
    code = """
async def rows():
    while True:
        await asyncio.sleep(0.01)
        yield 1

async def main():
{body}

if True:
    try:
        asyncio.run(main()){end}"""
    run = bars(code.format(body=body, end=END), api.url)
    (task,) = titled(api, f"asynchronous {title}")

    api.cancel(task["task_id"])

    assert run.hear() == "cancelled by Cancelled"
    run.end()
    assert api.ended(task["task_id"])["status"] == "cancelled"


FORKED = """
    def work(number):
        for _ in trange(10**6, desc=f"{kind} {number}"):
            time.sleep(0.01)

    if __name__ == "__main__":
        context = multiprocessing.get_context("fork")
        try:
"""


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        (
            "executor",
            "with futures.ProcessPoolExecutor(1, context) as p: p.submit(work, 1).result()",
        ),
        ("pool", "with context.Pool(1) as p: p.map(work, [1])"),
    ],
    ids=lambda value: value if len(value) < 20 else "",
)
def test_a_cancellation_reaches_a_forked_worker_and_the_one_who_waits_for_it(
    api: Any, bars: Run, deliver: Run, kind: str, start: str
) -> None:
    # Given a bar that was open before the fork
    code = f"""
kind, main = {kind!r}, tqdm(total=1, desc="before {kind}")
{textwrap.dedent(FORKED)}        {start}{END}
main.update()
"""
    run = bars(code, api.url)
    (task,) = titled(api, f"{kind} 1")

    # When the worker's bar is cancelled
    api.cancel(task["task_id"])

    # Then the worker has ended and its parent knows why, which goes on with its own bar
    assert run.hear() in {"cancelled by Cancelled", "cancelled by CancelledInPool"}
    run_out(run)
    deliver(api.url)
    assert api.ended(task["task_id"])["status"] == "cancelled"
    (before,) = titled(api, f"before {kind}")
    before = api.ended(before["task_id"])
    assert (before["status"], before["current"]) == ("completed", 1)
    assert api.ended(task["task_id"])["parent_id"] == before["task_id"]


def test_a_cancellation_does_not_break_a_pool_whose_callbacks_count(api: Any, bars: Run) -> None:
    run = bars(
        """
        with multiprocessing.pool.ThreadPool(2) as pool, tqdm(total=4, desc="callbacks") as bar:
            gate = threading.Event()
            waiting = [pool.apply_async(gate.wait, callback=lambda _: bar.update()) for _ in "abcd"]
            say("open")
            wait_for_go()
            while not bar._remote.reporter.cancel_requested: time.sleep(0.01)
            gate.set()
            say([one.get() for one in waiting])
        """,
        api.url,
    )
    run.hear()
    (task,) = titled(api, "callbacks")

    api.cancel(task["task_id"])
    run.go()

    assert run.hear() == "[True, True, True, True]"
    run_out(run)
    assert api.ended(task["task_id"])["current"] == 4


# -- many at once ------------------------------------------------------------------------------------


def test_twenty_processes_with_nested_bars_are_all_right_in_the_end(
    api: Any, bars: Run, deliver: Run
) -> None:
    run = bars(
        """
        def work(number):
            for _ in trange(3, desc=f"outer {number}"):
                for _ in trange(50, desc=f"inner of {number}", leave=False): pass
            with tqdm(total=100, desc=f"by hand {number}", unit="B") as bar:
                for _ in range(25): bar.update(4)

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            processes = [context.Process(target=work, args=(i,)) for i in range(20)]
            for process in processes: process.start()
            for process in processes: process.join()
            say([process.exitcode for process in processes])
        """,
        api.url,
    )
    assert run.hear() == str([0] * 20)
    run_out(run)
    deliver(api.url)

    outer = {f"outer {i}": i for i in range(20)}
    found = {
        title: api.ended(task["task_id"])
        for title, task in zip(outer, titled(api, *outer), strict=False)
    }
    assert {(t["status"], t["current"], t["total"]) for t in found.values()} == {
        ("completed", 3, 3)
    }
    ids = {number: found[title]["task_id"] for title, number in outer.items()}
    for number in range(20):
        inner = [api.ended(t["task_id"]) for t in api.tasks(title=f"inner of {number}")]
        assert [(t["current"], t["parent_id"]) for t in inner] == [(50, ids[number])] * 3
        (by_hand,) = titled(api, f"by hand {number}")
        by_hand = api.ended(by_hand["task_id"])
        assert (by_hand["status"], by_hand["current"]) == ("completed", 100)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_bars_of_a_pools_workers_are_children_of_the_bar_around_the_pool(
    api: Any, bars: Run, deliver: Run, method: str
) -> None:
    run = bars(
        f"""
        def work(number):
            for _ in trange(number + 1, desc=f"{method} {{number}}"): pass
            return number

        if __name__ == "__main__":
            with tqdm(total=4, desc="{method}") as bar:
                with multiprocessing.get_context("{method}").Pool(2) as pool:
                    for _ in pool.imap_unordered(work, range(4)): bar.update()
                    pool.close(); pool.join()
        """,
        api.url,
    )
    run_out(run)
    deliver(api.url)

    (around,) = titled(api, method)
    assert api.ended(around["task_id"])["current"] == 4
    for number, task in enumerate(titled(api, *(f"{method} {i}" for i in range(4)))):
        ended = api.ended(task["task_id"])
        assert (ended["status"], ended["current"]) == ("completed", number + 1)
        assert ended["parent_id"] == around["task_id"]


@pytest.mark.parametrize("mapper", ["thread_map", "process_map"])
def test_a_map_is_one_bar_with_the_results_of_tqdms(api: Any, bars: Run, mapper: str) -> None:
    run = bars(
        f"""
        if __name__ == "__main__":
            say({mapper}(abs, range(-30, 0), max_workers=2, desc="{mapper}", chunksize=1))
            try:
                {mapper}(int, ["1", "x"], max_workers=2, desc="{mapper} fails", chunksize=1)
            except ValueError as exc:
                say(exc)
        """,
        api.url,
    )
    assert run.hear() == str(list(range(30, 0, -1)))
    assert "invalid literal" in run.hear()
    run_out(run)

    (whole,) = titled(api, mapper)
    assert api.ended(whole["task_id"])["current"] == 30
    (failed,) = titled(api, f"{mapper} fails")
    assert api.ended(failed["task_id"])["error"]["message"].startswith("ValueError")


def test_asynchronous_bars_are_tasks_too(api: Any, bars: Run) -> None:
    run = bars(
        """
        async def rows(fail=False):
            for i in range(5):
                yield i
            if fail: raise OSError("no more")

        async def main():
            async for _ in atqdm(rows(), desc="rows", total=5): pass
            async for i in atqdm(rows(), desc="left", total=5):
                if i == 2: break
            say(await atqdm.gather(*(asyncio.sleep(0, i) for i in range(4)), desc="gathered"))
            for one in atqdm.as_completed([asyncio.sleep(0)] * 1 + [asyncio.sleep(0)], desc="as completed"):
                await one
            try:
                async for _ in atqdm(rows(fail=True), desc="raises"): pass
            except OSError: pass

        asyncio.run(main())
        """,
        api.url,
    )
    assert run.hear() == "[0, 1, 2, 3]"
    run_out(run)

    names = {"rows": 5, "left": 3, "gathered": 4, "as completed": 2}
    for (_, count), task in zip(names.items(), titled(api, *names), strict=True):
        ended = api.ended(task["task_id"])
        assert (ended["status"], ended["current"]) == ("completed", count)
    (raises,) = titled(api, "raises")
    assert api.ended(raises["task_id"])["error"]["message"] == "OSError: no more"


def test_what_the_parent_has_opened_is_the_parents_in_a_forked_child(api: Any, bars: Run) -> None:
    run = bars(
        """
        bar = tqdm(total=9, desc="parents")
        bar.update()
        child = os.fork()
        if child == 0:
            bar.update(5); bar.close(); del bar
            os._exit(0)
        say(os.waitpid(child, 0)[1])
        wait_for_go()
        bar.update(); bar.close()
        """,
        api.url,
    )
    assert run.hear() == "0"
    (task,) = titled(api, "parents")
    assert api.wait(task["task_id"], lambda t: t["current"] == 1)["status"] == "in_progress"

    run.go()

    run_out(run)
    assert api.ended(task["task_id"])["current"] == 2


def test_threads_have_bars_of_their_own(api: Any, bars: Run) -> None:
    run_out(
        bars(
            """
            def work(number):
                for _ in trange(100, desc=f"thread {number}"): pass
            threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            """,
            api.url,
        )
    )

    for task in titled(api, *(f"thread {i}" for i in range(8))):
        ended = api.ended(task["task_id"])
        assert (ended["status"], ended["current"]) == ("completed", 100)
