"""Bars within bars: in one thread, in several, in asyncio, in forked and spawned processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def family(api: Any, *names: str) -> dict[str, str | None]:
    """The name of each task's parent, once all of them have ended."""
    found = {task["task_id"]: task for task in api.wait_for_names(*names)}
    for task_id in found:
        assert api.ended(task_id)["status"] == "completed"
    return {
        task["name"]: found.get(task["parent_id"], {}).get("name") if task["parent_id"] else None
        for task in found.values()
    }


def test_a_bar_opened_while_another_is_open_is_its_child(api: Any, script: Run) -> None:
    script(
        """
        for _ in track([1], name="outer"):
            for _ in track([1], name="inner"):
                with Reporter("innermost"): pass
            with Reporter("second"): pass
        with Reporter("after"): pass
        with Reporter("a") as a, Reporter("b"):
            Reporter("of a", parent=a).close()
            Reporter("by id", parent=a.task_id).close()
        """,
        api.url,
    ).end()

    assert family(
        api, "outer", "inner", "innermost", "second", "after", "a", "b", "of a", "by id"
    ) == {
        "outer": None,
        "inner": "outer",
        "innermost": "inner",
        "second": "outer",
        "after": None,
        "a": None,
        "b": "a",
        "of a": "a",
        "by id": "a",
    }


def test_bars_of_threads_and_asyncio_tasks_are_children_of_the_one_around_them(
    api: Any, script: Run
) -> None:
    script(
        """
        together = threading.Barrier(2)
        def work(name):
            with Reporter(name):
                together.wait(); together.wait()
        async def sub(name, ready):
            async with Reporter(name):
                ready.count_down()
                await ready.wait()
        class Ready:
            def __init__(self): self.left = 2; self.event = asyncio.Event()
            def count_down(self):
                self.left -= 1
                if not self.left: self.event.set()
            def wait(self): return self.event.wait()
        async def main():
            ready = Ready()
            async with Reporter("loop"):
                await asyncio.gather(sub("one", ready), sub("two", ready))
        with Reporter("main"):
            threads = [threading.Thread(target=work, args=(n,)) for n in ("t1", "t2")]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        asyncio.run(main())
        """,
        api.url,
    ).end()

    assert family(api, "main", "t1", "t2", "loop", "one", "two") == {
        "main": None,
        "t1": "main",
        "t2": "main",
        "loop": None,
        "one": "loop",
        "two": "loop",
    }


@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver"])
def test_processes_report_for_themselves_and_belong_to_what_started_them(
    api: Any, script: Run, kind: str
) -> None:
    name = f"pool-{kind}"
    run = script(
        f"""
        import multiprocessing
        def work(n):
            for _ in track(range(50), name={name!r} + f" part {{n}}"):
                time.sleep(0.002)
            return n
        if __name__ == "__main__":
            with Reporter({name!r}, total=4) as bar:
                with multiprocessing.get_context({kind!r}).Pool(2) as pool:
                    for _ in pool.imap_unordered(work, range(4)):
                        bar.advance()
        """,
        api.url,
    )

    assert run.end() == 0, run.stderr
    names = [name, *(f"{name} part {n}" for n in range(4))]
    assert family(api, *names) == {name: None} | dict.fromkeys(names[1:], name)
    counts = {task["name"]: task["current"] for task in api.wait_for_names(*names)}
    assert counts == {name: 4} | dict.fromkeys(names[1:], 50)


def test_a_forked_child_neither_ends_nor_reports_its_parents_bar(api: Any, script: Run) -> None:
    run = script(
        """
        with Reporter("parent's", task_id="parents", total=3) as bar:
            bar.advance()
            child = os.fork()
            if not child:
                bar.advance(100); bar.log("from the child"); bar.message = "child"
                bar.close()
                sys.exit(0)
            os.waitpid(child, 0)
            bar.advance(); say("waited"); wait_for_go()
        """,
        api.url,
    )
    run.hear()

    assert api.wait("parents", lambda task: task["current"] == 2)["status"] == "in_progress"
    run.go()

    assert run.end() == 0
    task = api.ended("parents")
    assert (task["current"], task["message"]) == (2, "")
    assert api.log("parents") == []


def test_a_child_that_is_forked_inside_of_a_loop_leaves_it_to_the_parent(
    api: Any, script: Run
) -> None:
    run = script(
        """
        for i in track(range(4), task_id="forks"):
            child = os.fork()
            if not child:
                with Reporter(f"fork {i}") as bar: bar.advance()
                break
            os.waitpid(child, 0)
        """,
        api.url,
    )

    assert run.end() == 0
    task = api.ended("forks")
    assert (task["status"], task["current"]) == ("completed", 4)
    for child in api.wait_for_names(*(f"fork {i}" for i in range(4))):
        assert api.ended(child["task_id"])["parent_id"] == "forks"


def test_a_program_that_is_started_belongs_to_the_bar_around_it(api: Any, script: Run) -> None:
    run = script(
        """
        import subprocess
        code = "from socketprogress import Reporter\\nwith Reporter('program'): pass"
        with Reporter("starts"):
            subprocess.run([sys.executable, "-c", code], check=True)
        assert "SOCKETPROGRESS_PARENT" not in os.environ
        """,
        api.url,
    )

    assert run.end() == 0, run.stderr
    assert family(api, "starts", "program") == {"starts": None, "program": "starts"}


def test_forks_while_the_sender_is_busy_never_hang(api: Any, script: Run) -> None:
    run = script(
        """
        bar = Reporter("busy")
        def chatter():
            while True: bar.log("x" * 100); bar.advance()
        threading.Thread(target=chatter, daemon=True).start()
        for i in range(12):
            child = os.fork()
            if not child:
                with Reporter(f"busy child {i}") as own: own.log("hello"); bar.log("mine?")
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """,
        api.url,
    )

    assert run.end() == 0, run.stderr
    for task in api.wait_for_names(*(f"busy child {i}" for i in range(12))):
        assert api.ended(task["task_id"])["status"] == "completed"
