"""What a server sees of tqdm bars, and what a terminal sees beside it."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

IMPORTS = "import io, os, copy, pickle, socketprogress\nfrom socketprogress import tqdm, trange\n"
PATIENCE_S = 60.0
CLOSED = "http://127.0.0.1:1"


@pytest.fixture
def bars(script: Run) -> Run:
    """A function that runs a program with bars: its code, the server's URL, more environment."""
    return lambda code, url=None, **env: script(IMPORTS + textwrap.dedent(code), url, **env)


def titled(api: Any, title: str) -> dict[str, Any]:
    """The only task of this title, once it has ended."""
    (found,) = api.tasks(title=title)
    return dict(api.ended(found["task_id"]))


def going_on(api: Any, title: str) -> dict[str, Any]:
    """The task of this title, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for task in api.tasks(title=title):
            return dict(task)
    pytest.fail(f"no bar {title!r} came")


def run_out(run: Any, status: int = 0) -> None:
    assert run.end() == status, run.stderr


@pytest.mark.parametrize(
    ("title", "code", "current", "total", "unit", "message"),
    [
        ("range", "for _ in trange(7, desc='range'): pass", 7, 7, "it", ""),
        ("list", "list(tqdm([1, 2], desc='list', unit='row'))", 2, 2, "row", ""),
        ("generator", "for _ in tqdm(iter([1, 2]), 'generator'): pass", 2, None, "it", ""),
        ("given", "for _ in tqdm(iter([1, 2]), total=9, desc='given'): pass", 2, 9, "it", ""),
        ("empty", "list(tqdm([], desc='empty'))", 0, 0, "it", ""),
        ("inf", "list(tqdm([1], total=float('inf'), desc='inf'))", 1, None, "it", ""),
        ("break", "for i in trange(9, desc='break'):\n    if i == 4: break", 4, 9, "it", ""),
        (
            "update",
            "b = tqdm(total=5, desc='update'); b.update(); b.update(2); b.close()",
            3, 5, "it", "",
        ),
        ("left open", "b = tqdm(total=5, desc='left open'); b.update(2)", 2, 5, "it", ""),
        ("dropped", "tqdm(total=5, desc='dropped').update(2)", 2, 5, "it", ""),
        ("set", "b = tqdm(total=5, desc='set'); b.n = 4; b.refresh(); b.close()", 4, 5, "it", ""),
        (
            "total",
            "b = tqdm(total=5, desc='total'); b.total = 8; b.refresh(); b.update(6); b.close()",
            6, 8, "it", "",
        ),
        (
            "initial",
            "with tqdm(total=9, initial=4, desc='initial') as b: b.update(2)",
            6, 9, "it", "",
        ),
        ("float", "with tqdm(total=2.5, desc='float') as b: b.update(0.5)", 0.5, 2.5, "it", ""),
        (
            "scaled",
            "with tqdm(total=4, unit_scale=256, unit='B', desc='scaled') as b: b.update(2)",
            512, 1024, "B", "",
        ),
        (
            "prefixes",
            "with tqdm(total=4000, unit_scale=True, desc='prefixes') as b: b.update(2000)",
            2000, 4000, "it", "",
        ),
        ("postfix", "list(tqdm([1], 'postfix', postfix={'loss': 0.5}))", 1, 1, "it", "loss=0.5"),
        (
            "renamed",
            "b = tqdm([1], 'before'); b.set_description('renamed'); b.set_postfix_str('so far'); list(b)",
            1, 1, "it", "so far",
        ),
        (
            "reset",
            "b = tqdm(total=5, desc='reset'); b.update(5); b.reset(total=8); b.update(3); b.close()",
            3, 8, "it", "",
        ),
        (
            "stream",
            ("with tqdm.wrapattr(io.BytesIO(b'x' * 100), 'read', total=100, desc='stream') as f:\n"
            "    while f.read(30): pass"),
            100, 100, "B", "",
        ),
        ("delayed", "list(tqdm([1, 2], desc='delayed', delay=60))", 2, 2, "it", ""),
        ("seldom", "list(tqdm([1, 2], desc='seldom', mininterval=999))", 2, 2, "it", ""),
        (
            "twice",
            "b = tqdm([1, 2], desc='twice'); list(b); list(b)",
            2, 2, "it", "",
        ),
        (
            "stop",
            ("b = tqdm(total=9, desc='stop'); i = iter([1])\n"
            "while True:\n"
            "    try: next(i)\n"
            "    except StopIteration: b.close(); break\n"
            "    b.update()"),
            1, 9, "it", "",
        ),
        (
            "retried",
            ("try: 1 / 0\n"
            "except ZeroDivisionError:\n"
            "    with tqdm(total=9, desc='retried') as b: b.update()"),
            1, 9, "it", "",
        ),
        (
            "caught",
            ("try:\n"
            "    for i in trange(9, desc='caught'): 1 // (3 - i)\n"
            "except ZeroDivisionError: pass"),
            3, 9, "it", "",
        ),
        (
            "auto",
            "from socketprogress.auto import trange\nlist(trange(3, desc='auto'))",
            3, 3, "it", "",
        ),
        (
            "zip",
            ("from socketprogress.contrib import tzip, tmap, tenumerate\n"
            "assert list(tzip('ab', 'cd', desc='zip')) == [('a', 'c'), ('b', 'd')]\n"
            "assert list(tmap(str, [1])) == ['1'] and list(tenumerate('a', 5)) == [(5, 'a')]"),
            2, 2, "it", "",
        ),
    ],
)  # fmt: skip
def test_a_bar_is_a_task_with_its_title_unit_counts_and_message(
    api: Any,
    bars: Run,
    title: str,
    code: str,
    current: float,
    total: float | None,
    unit: str,
    message: str,
) -> None:
    run_out(bars(code, api.url))

    task = titled(api, title)
    assert (task["status"], task["progress"], task["error"]) == ("completed", 100.0, None)
    assert (task["current"], task["total"]) == (current, total)
    assert (task["unit"], task["message"]) == (unit, message)


def test_a_bar_without_a_description_has_the_programs_name(api: Any, bars: Run) -> None:
    run = bars("say(os.path.basename(sys.argv[0])); list(tqdm([1]))", api.url)
    program = run.hear()
    run_out(run)

    assert titled(api, program)["status"] == "completed"


@pytest.mark.parametrize(
    "loop",
    [
        "for i in tqdm(items(), desc={title!r}, total=9, mininterval=999): step(i)",
        "for i in tqdm(items(), desc={title!r}, total=9, miniters=999): step(i)",
        (
            "with tqdm(desc={title!r}, total=9, mininterval=999) as bar:\n"
            "    for i in range(9): step(i); bar.update()"
        ),
    ],
    ids=["seldom shown", "shown after many", "by hand"],
)
def test_the_count_is_true_at_every_moment_however_seldom_the_terminal_shows_it(
    api: Any, bars: Run, loop: str, request: pytest.FixtureRequest
) -> None:
    title = f"live {request.node.callspec.id}"
    code = """
        def items():
            yield from range(9)
        def step(i):
            if i == 5:
                say("five"); wait_for_go()
    """
    run = bars(textwrap.dedent(code) + loop.format(title=title), api.url)
    run.hear()

    task = api.wait(going_on(api, title)["task_id"], lambda task: task["current"] == 5)

    assert task["status"] == "in_progress"
    run.go()
    run_out(run)
    assert titled(api, title)["current"] == 9


def test_bars_in_bars_are_children_and_only_children_may_leave_the_list(
    api: Any, bars: Run
) -> None:
    run = bars(
        """
        for i in trange(2, desc="outer", leave=False):
            for _ in tqdm("ab", desc=f"inner {i}", leave=False):
                pass
        outer = tqdm(total=1, leave=False)
        inner = tqdm(total=1, leave=False)
        kept = tqdm(total=1, leave=None)
        say([bar._remote.reporter.opening().get("leave", True) for bar in (outer, inner, kept)])
        """,
        api.url,
    )
    left = run.hear()
    run_out(run)

    outer = titled(api, "outer")
    inner = [titled(api, f"inner {i}") for i in range(2)]
    assert outer["parent_id"] is None
    assert {task["parent_id"] for task in inner} == {outer["task_id"]}
    assert left == "[True, False, False]"


def test_a_bar_that_is_disabled_or_has_no_server_reports_nothing(api: Any, bars: Run) -> None:
    code = """
        bars = [tqdm([1], desc="unseen", **options) for options in (dict(disable=True), dict(disable=None))]
        [list(bar) for bar in bars]
        say([sorted(vars(bar)) for bar in bars] == [["disable", "iterable", "leave", "n", "pos", "total"]] * 2)
        list(tqdm([1], desc="unseen") if "SOCKETPROGRESS_URL" not in os.environ else [])
        say("socketprogress-sender" in {thread.name for thread in threading.enumerate()})
    """
    for url in (api.url, None):
        run = bars(code, url)
        assert (run.hear(), run.hear()) == ("True", "False")
        run_out(run)

    assert api.tasks(title="unseen") == []


PROGRAM = """
    form = dict(bar_format="{desc}|{n}/{total}|{unit}{postfix}|{bar:5}", mininterval=0, miniters=1)
    def show(bars):
        for _ in bars(range(3), desc="a", **form): pass
        with bars(total=4, unit="B", postfix={"x": 1}, **form) as bar:
            bar.update(2); bar.set_postfix(y="z"); bar.set_description("b"); bar.reset(total=9)
            bars.write("between", file=sys.stderr); bar.total = 5; bar.refresh(); bar.clear()
        for _ in bars("ab", **form):
            for _ in bars("cd", leave=False, **form): pass
        try:
            for i in bars(range(9), **form): 1 // (2 - i)
        except ZeroDivisionError: pass
        try: list(bars(5, **form))
        except TypeError as exc: print(exc, file=sys.stderr)
        bar = bars([1, 2], **form)
        print(len(bar), bool(bar), 2 in bar, bar.format_dict["total"], str(bar), file=sys.stderr)
        try: bars([1], colour="red", unknown=1)
        except Exception as exc: print(type(exc).__name__, exc, file=sys.stderr)
"""


@pytest.mark.parametrize("where", ["up", "down", "none"])
def test_the_terminal_sees_exactly_what_tqdm_writes(api: Any, bars: Run, where: str) -> None:
    url = {"up": api.url, "down": CLOSED, "none": None}[where]
    ours = bars(PROGRAM + "    logging = __import__('logging').disable()\n    show(tqdm)", url)
    theirs = bars(PROGRAM + "    from tqdm import tqdm as theirs\n    show(theirs)")

    run_out(ours)
    run_out(theirs)
    assert ours.stderr == theirs.stderr
    assert "TqdmKeyError" in ours.stderr


def test_the_class_is_tqdms_in_name_signature_and_help(bars: Run) -> None:
    run = bars(
        """
        import inspect, tqdm as package
        from socketprogress import auto, asyncio
        say(inspect.signature(tqdm.__init__) == inspect.signature(package.tqdm.__init__))
        say(tqdm.__doc__ == package.tqdm.__doc__ and tqdm.__name__ == "tqdm")
        say(issubclass(tqdm, package.tqdm) and issubclass(asyncio.tqdm, package.asyncio.tqdm))
        say(issubclass(auto.tqdm, package.auto.tqdm) and issubclass(auto.tqdm, tqdm))
        """
    )

    assert [run.hear() for _ in range(4)] == ["True"] * 4


def test_tqdms_environment_sets_defaults_here_too(api: Any, bars: Run) -> None:
    run_out(bars("list(tqdm([1], desc='by env'))", api.url, TQDM_UNIT="row"))
    run_out(bars("list(tqdm([1], desc='disabled by env'))", api.url, TQDM_DISABLE="1"))

    assert titled(api, "by env")["unit"] == "row"
    assert api.tasks(title="disabled by env") == []


@pytest.mark.parametrize(
    ("title", "code", "status", "current", "error"),
    [
        ("raises", "for i in trange(9, desc='raises'): 1 // (3 - i)", "failed", 3, "exception"),
        (
            "block",
            "with tqdm(total=9, desc='block') as b:\n    b.update(2)\n    1 / 0",
            "failed", 2, "exception",
        ),
        (
            "block caught",
            ("try:\n"
            "    with trange(9, desc='block caught') as b:\n"
            "        for i in b: 1 // (4 - i)\n"
            "except ZeroDivisionError: pass"),
            "failed", 4, "exception",
        ),
        ("open", "b = tqdm(total=9, desc='open'); b.update(2); 1 / 0", "failed", 2, "exception"),
        (
            "finally",
            "b = tqdm(total=9, desc='finally')\ntry:\n    b.update(2); 1 / 0\nfinally: b.close()",
            "failed", 2, "exception",
        ),
        (
            "source",
            ("def rows():\n    yield 1\n    raise LookupError\n"
            "try: list(tqdm(rows(), 'source'))\nexcept LookupError: pass"),
            "failed", 1, "exception",
        ),
        (
            "interrupt",
            "for i in trange(9, desc='interrupt'):\n    if i == 2: raise KeyboardInterrupt",
            "cancelled", 2, "interrupted",
        ),
        (
            "interrupt handled",
            ("b = tqdm(total=9, desc='interrupt handled')\n"
            "try: raise KeyboardInterrupt\nexcept KeyboardInterrupt: b.close()"),
            "cancelled", 0, "interrupted",
        ),
    ],
)  # fmt: skip
def test_an_exception_fails_the_bars_task_as_far_as_it_can_be_seen(
    api: Any, bars: Run, title: str, code: str, status: str, current: float, error: str
) -> None:
    bars(code, api.url).end()

    task = titled(api, title)
    assert (task["status"], task["current"]) == (status, current)
    assert task["error"]["code"] == error


def test_copies_of_a_bar_behave_as_tqdms_and_are_not_the_task(api: Any, bars: Run) -> None:
    run = bars(
        """
        from tqdm import tqdm as theirs
        def outcome(call):
            try: return type(call()).__name__
            except Exception as exc: return type(exc).__name__
        def outcomes(bars):
            for options in (dict(disable=True), dict()):
                bar = bars([1, 2], file=io.StringIO(), **options)
                yield outcome(lambda: pickle.dumps(bar)), outcome(lambda: copy.deepcopy(bar))
        say(list(outcomes(tqdm)) == list(outcomes(theirs)))
        bar = tqdm(total=9, desc="original", file=io.StringIO())
        other = copy.copy(bar); other.update(5); other.close(); del other
        bar.update(2); bar.close()
        """,
        api.url,
    )
    assert run.hear() == "True"
    run_out(run)

    assert titled(api, "original")["current"] == 2
