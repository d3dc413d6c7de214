"""What a task's page says beside the task: relatives, the traceback, the QR code."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from socketprogress.server.taskpage import qr_code, traceback_of

Make = Callable[..., Any]
FIRST = ["Traceback (most recent call last):", '  File "a.py", line 1', "KeyError: 1"]
WHILE = ["", "During handling of the above exception, another exception occurred:", ""]
LAST = ["Traceback (most recent call last):", '  File "b.py", line 2', "ValueError: 2"]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (["one", *LAST], LAST),
        (["one", *FIRST, *WHILE, *LAST], [*FIRST, *WHILE, *LAST]),
        ([*FIRST, "went on", *LAST], LAST),
        (["all is well"], []),
    ],
)
def test_the_traceback_that_ends_a_log_is_found_with_what_it_replaced(
    log: list[str], expected: list[str]
) -> None:
    assert traceback_of(log) == "\n".join(expected)


def test_the_qr_code_is_an_svg_that_a_strict_policy_allows() -> None:
    code = qr_code("http://127.0.0.1:8765/tasks/a")

    root = ET.fromstring(code)  # noqa: S314 - made here
    assert root.tag.endswith("svg")
    assert b"style" not in code
    assert qr_code("http://127.0.0.1:8765/tasks/b") != code


def report(web: Any, task_id: str, **fields: Any) -> None:
    """Report a task from elsewhere."""
    response = web.client.put(f"{web.prefix}/api/tasks/{task_id}", json=fields)
    assert response.status_code in {200, 201}, response.text


@pytest.mark.parametrize("prefix", ["", "/progress"])
def test_a_task_has_a_qr_code_of_its_own_page(web: Make, prefix: str) -> None:
    server = web(prefix=prefix)
    report(server, "one", name="work")

    code = server.get("/tasks/one/qr.svg")

    assert code.content_type == "image/svg+xml; charset=utf-8"
    assert code.data == qr_code(f"http://localhost{prefix}/tasks/one")
    assert f'href="{prefix}/tasks/one/qr.svg"' in server.get("/tasks/one").text
    assert server.get("/tasks/none/qr.svg").status_code == 404


def test_children_and_parents_lead_to_each_other(web: Make) -> None:
    server = web()
    report(server, "whole", name="import", title="The whole import")
    for part in ("first", "second"):
        report(server, part, name="part", title=f"The {part} part", parent_id="whole")
    report(server, "other", name="part", title="Another one")

    whole, part = server.get("/tasks/whole").text, server.get("/tasks/first").text

    assert 'href="/tasks/first"' in whole
    assert 'href="/tasks/second"' in whole
    assert "Another one" not in whole
    assert 'href="/tasks/whole"' in part
    assert "The whole import" in part
    listed = server.get("/api/tasks?parent_id=whole").json
    assert {task["task_id"] for task in listed["tasks"]} == {"first", "second"}
    bad = server.get("/api/tasks?parent_id=no/id")
    assert (bad.status_code, bad.json["error"]["field"]) == (400, "parent_id")


def test_long_arguments_are_folded_and_short_ones_are_not(web: Make) -> None:
    server = web()
    task_id = server.start("add", a=41)
    server.ended(task_id)

    html = server.get(f"/tasks/{task_id}").text

    assert '<dt>a</dt><dd dir="auto">41</dd>' in html
