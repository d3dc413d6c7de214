"""Task functions for the tests of the executors; a worker process loads this file by its path."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socketprogress import Cancelled, Reporter, TaskFailure

log = logging.getLogger(__name__)


@dataclass
class Found:
    path: Path
    sizes: tuple[int, ...]


def kinds(path: Path, number: int, share: float = 0.5, *, flag: bool = False) -> dict[str, Any]:
    """Tell what its arguments are."""
    return {"path": path.name, "kinds": [type(a).__name__ for a in (path, number, share, flag)]}


def convertible() -> Any:
    return [Found(Path("/a"), (1, 2)), {1: signal.SIGTERM}, "broken \udcff name"]


def quick(number: int = 0) -> int:
    return number


def count(progress: Reporter, total: int = 10) -> None:
    for _ in progress.track(range(total)):
        time.sleep(0.01)


def in_steps(progress: Reporter) -> None:
    for name in ("Scan", "Pack"):
        progress.step(name, total=3)
        for _ in range(3):
            progress.advance()


def chat(progress: Reporter) -> None:
    progress.log("first\nsecond")
    progress.message = "said it"


def sets_result(progress: Reporter) -> None:
    progress.result = {"kept": True}


def write_file(progress: Reporter) -> None:
    path = progress.output_dir / "report.txt"
    path.write_text("12345")
    progress.add_file(path)


def fail(progress: Reporter) -> None:
    progress.current = 3
    raise ValueError("the\nbad   line")


def fail_with_code() -> None:
    raise TaskFailure("exit code 3", code="exit_status")


def leave() -> None:
    sys.exit(0)


def interrupt() -> None:
    raise KeyboardInterrupt


async def interrupt_async() -> None:
    raise KeyboardInterrupt


def generate() -> Any:
    yield 1


def give_set() -> Any:
    return {1, 2}


def give_nan() -> Any:
    return {"share": float("nan")}


def give_much() -> Any:
    return "x" * 300_000


async def arithmetic(progress: Reporter, number: int) -> int:
    for _ in range(3):
        await asyncio.sleep(0.001)
        progress.advance()
    return number + 1


async def wait_for_ever(progress: Reporter) -> None:
    progress.message = "waiting"
    await asyncio.Event().wait()


def until_cancelled(progress: Reporter) -> None:
    progress.message = "running"
    while True:
        progress.advance()
        time.sleep(0.001)


def odd_numbers(progress: Reporter) -> None:
    progress.total = float("inf")
    progress.current = float("nan")
    progress.message = "broken \udcff name"


# What only a process, or only a process and a thread, can take.


def spin(progress: Reporter) -> None:
    progress.message = "running"
    while True:
        pass


def stubborn(progress: Reporter) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    progress.message = "running"
    while True:
        try:
            while True:
                progress.advance()
        except BaseException:  # noqa: BLE001 - the worst that a user may write
            log.debug("not today")


def with_children(progress: Reporter) -> None:
    """Start a child, one in a session of its own and an orphan, then wait."""
    sleep = [
        sys.executable,
        "-c",
        "import os, time; print(os.getpid(), flush=True); time.sleep(100)",
    ]
    for new_session in (False, True):
        child = subprocess.Popen(sleep, stdout=subprocess.PIPE, start_new_session=new_session)
        progress.log(f"pid {int(child.stdout.readline())}")
    orphan = "import os, subprocess, sys; os.fork() and os._exit(0); os.setsid(); exec(sys.argv[1])"
    child = subprocess.Popen([sys.executable, "-c", orphan, sleep[2]], stdout=subprocess.PIPE)
    progress.log(f"pid {int(child.stdout.readline())}")
    progress.message = "running"
    while True:
        time.sleep(1)


def leave_children() -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]).pid


def exit_hard(code: int) -> None:
    print("last words", flush=True)  # noqa: T201 - what is tested
    os._exit(code)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    import faulthandler

    faulthandler._sigsegv()


def terminate_itself() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        pass


def pid() -> int:
    return os.getpid()


def talk() -> None:
    print("from print")  # noqa: T201 - what is tested
    print("from stderr", file=sys.stderr)  # noqa: T201 - what is tested
    os.write(1, b"from the descriptor\n")
    import ctypes

    ctypes.CDLL(None).puts(b"from C")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    sys.stdout.write("\r 10 %\r 90 %\n")
    sys.stdout.write('{"ended": {"status": "failed"}}\n')
    sys.stdout.write("unfinished")


def flood(lines: int) -> str:
    for number in range(lines):
        print(number)  # noqa: T201 - what is tested
    return "done"


def many_steps(progress: Reporter) -> None:
    for _ in range(5_000):
        progress.step("Scan")
        progress.step("Pack")


def spoil() -> None:
    os.chdir("/")
    os.environ["SPOILT"] = "yes"
    os.umask(0o777)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout = None
    sys.argv.append("spoilt")


def close_descriptors() -> int:
    os.close(1)
    os.close(2)
    return os.getpid()


def close_streams() -> int:
    sys.stdout.close()
    sys.stderr.close()
    return os.getpid()


def state() -> dict[str, Any]:
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "cwd": str(Path.cwd()),
        "spoilt": os.environ.get("SPOILT"),
        "pythonpath": os.environ.get("PYTHONPATH"),
        "umask": umask,
        "sigterm": signal.getsignal(signal.SIGTERM) is signal.SIG_IGN,
        "print": sys.stdout is not None,
        "argv": sys.argv[1:],
        "pid": os.getpid(),
        "stdin": sys.stdin.read(),
    }


def leave_thread() -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def square(number: int) -> int:
    return number * number


def with_multiprocessing(method: str) -> list[int]:
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


def catches_the_cancellation(progress: Reporter) -> None:
    progress.message = "running"
    try:
        while True:
            progress.advance()
    except Cancelled:
        json.loads("no JSON")


def blocked_in_c(progress: Reporter, seconds: float) -> None:
    progress.message = "running"
    time.sleep(seconds)
