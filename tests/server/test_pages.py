"""The pages and forms, as a browser without JavaScript meets them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TABLE = Path(__file__).parents[1] / "js" / "plurals.json"
PLURALS = json.loads(TABLE.read_text(encoding="utf-8"))

Make = Callable[..., Any]

SHAPES = {"where": ".", "numbers": "[1, 2]", "mode": "slow", "share": ""}


def task_of(response: Any) -> str:
    """Return the id of the task that a form's redirect leads to."""
    assert response.status_code == 303, response.text
    found = re.search(r"/tasks/([\w-]+)$", response.headers["Location"])
    assert found, response.headers["Location"]
    return found.group(1)


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/progress"])
def test_the_list_the_task_and_the_bar_are_pages(web: Make, prefix: str) -> None:
    server = web(prefix=prefix)
    task_id = server.start("add", a=41)
    server.ended(task_id)

    for path in ("/", f"/tasks/{task_id}", f"/embed/{task_id}"):
        response = server.get(path)
        assert response.status_code == 200
        assert response.content_type == "text/html; charset=utf-8"
        assert "Add 41" in response.text
        assert f'"{prefix}/static/' in response.text
    assert f'href="{prefix}/tasks/{task_id}"' in server.get("/").text


@pytest.mark.parametrize(
    ("low", "likely", "high", "passed", "text"),
    [
        (120.0, 150.0, 180.0, 0, "2 to 3 min left"),
        (120.0, 150.0, 180.0, 60, "1 to 2 min left"),
        (120.0, 150.0, 180.0, 140, "up to 40 s left"),
        (120.0, 150.0, 180.0, 179, "a few seconds left"),
        (120.0, 150.0, 180.0, 181, "longer than usual"),
        (41.0, 80.0, 130.0, 0, "45 s to 2 min left"),
        (3000.0, 6000.0, 7300.0, 0, "50 min to 2 h left"),
        (None, 41.0, None, 0, "about 45 s left"),
        (None, 9000.0, None, 0, "about 2.5 h left"),
        (None, 200_000.0, None, 0, "about 2 days left"),
        (None, None, None, 0, ""),
    ],
)
def test_the_time_left_reads_as_in_the_browser(
    calm: Any, low: float, likely: float, high: float, passed: float, text: str
) -> None:
    show = calm.app.jinja_env.get_template("socketprogress/format.html").module
    task = {
        "status": "in_progress",
        "progress": None,
        "cancel_requested": False,
        "eta_s": likely,
        "eta_low_s": low,
        "eta_high_s": high,
        "usual_s": 165.0,
        "elapsed_s": 15.0,
    }

    assert str(show.time_left(task, passed)).strip() == text
    assert str(show.time_left({**task, "elapsed_s": 2.9 - passed}, passed)).strip() == ""
    assert str(show.time_left({**task, "status": "lost"}, passed)).strip() == ""
    assert str(show.time_left({**task, "cancel_requested": True}, passed)).strip() == ""


@pytest.mark.parametrize(("unit", "several"), PLURALS.items())
def test_units_read_as_in_the_browser(calm: Any, unit: str, several: str) -> None:
    show = calm.app.jinja_env.get_template("socketprogress/format.html").module

    assert html.unescape(str(show.plural(unit))) == several


@pytest.mark.parametrize(
    ("current", "total", "unit", "text"),
    [
        (310, 900, "batch", "310 of 900 batches"),
        (1, 900, "batch", "1 of 900 batches"),
        (0, 1, "batch", "0 of 1 batch"),
        (1, None, "batch", "1 batch"),
        (1.5, None, "batch", "1.5 batches"),
        (2, None, "%", "2"),
        (0, None, "batch", ""),
    ],
)
def test_a_unit_follows_its_number(
    calm: Any, current: float, total: float | None, unit: str, text: str
) -> None:
    show = calm.app.jinja_env.get_template("socketprogress/format.html").module
    task = {"current": current, "total": total, "unit": unit, "rate": 1.0, "status": "in_progress"}

    assert str(show.counts(task)).strip() == text
    assert str(show.rate({**task, "unit": "batch"})).strip() == "1 batch/s"


def test_every_page_has_a_strict_policy_and_is_not_stored(web: Make) -> None:
    server = web()
    task_id = server.start("add")

    for path in ("/", f"/tasks/{task_id}", f"/embed/{task_id}", "/nothing", "/tasks/nobody"):
        headers = server.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_only_the_bar_may_be_framed_and_only_by_those_allowed(web: Make) -> None:
    server = web(origins=("https://app.example",))
    task_id = server.start("add")

    bar, page = server.get(f"/embed/{task_id}"), server.get(f"/tasks/{task_id}")

    assert "frame-ancestors 'self' https://app.example" in bar.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in bar.headers
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"


def test_nothing_on_a_page_runs_that_somebody_else_wrote(web: Make) -> None:
    server = web()
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    response = server.post("/api/tasks", json={"task": "add", "title": evil, "tags": [evil]})
    task_id = response.json["task_id"]
    server.progress.engine.hub.log(task_id, [evil, "</pre></script>"])

    for path in ("/", f"/tasks/{task_id}", f"/embed/{task_id}"):
        text = server.get(path, query_string={"search": "", "status": ""}).text
        assert "<script>alert" not in text
        assert "<img" not in text
    assert "<script>alert" not in server.get("/", query_string={"search": evil}).text


def test_an_address_filters_the_list(web: Make) -> None:
    server = web()
    first, second = server.start("add", a=5), server.start("add", a=6)
    server.ended(first)
    server.ended(second)

    found = server.get("/?status=completed&search=add+5").text
    none = server.get("/?status=failed").text

    assert f'data-task-id="{first}"' in found
    assert f'data-task-id="{second}"' not in found
    assert f'data-task-id="{first}"' not in none
    assert server.get("/?refresh=0").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/?status=done", 400), ("/?before=x", 400), ("/tasks/nobody", 404), ("/nothing", 404)],
)
def test_what_goes_wrong_on_a_page_is_a_page(calm: Any, path: str, status: int) -> None:
    response = calm.get(path)

    assert response.status_code == status
    assert response.content_type == "text/html; charset=utf-8"
    assert f"{status} <code>" in response.text


def test_the_log_on_the_page_is_its_end(web: Make) -> None:
    server = web()
    task_id = server.start("hold")
    server.progress.engine.hub.log(task_id, [f"line {number};" for number in range(1000)])

    text = server.get(f"/tasks/{task_id}").text

    assert "line 999;" in text
    assert "line 700;" not in text


def test_a_host_applications_own_errors_stay_its_own(web: Make) -> None:
    server = web(prefix="/progress")

    @server.app.errorhandler(404)
    def theirs(_: Exception) -> tuple[str, int]:
        return "the host's own page", 404

    assert server.client.get("/elsewhere").text == "the host's own page"
    assert "unknown_task" in server.get("/tasks/nobody").text
    assert "Content-Security-Policy" not in server.client.get("/elsewhere").headers


# -- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/progress"])
def test_a_form_starts_a_task_and_leads_to_its_page(web: Make, prefix: str) -> None:
    server = web(prefix=prefix)

    response = server.form("/start/add", a="20", b="")

    ended = server.ended(task_of(response))
    assert response.headers["Location"].startswith(f"{prefix}/tasks/")
    assert (ended["args"], ended["result"]) == ({"a": 20}, 22)


def test_a_forms_texts_become_what_the_definition_takes(web: Make) -> None:
    server = web()

    ticked = server.form("/start/shapes", **SHAPES, deep="true")
    bare = server.form("/start/shapes", **{**SHAPES, "share": "0.5"})

    result = {"numbers": [1, 2], "deep": True, "mode": "slow", "share": None}
    assert server.ended(task_of(ticked))["result"] == result
    assert server.ended(task_of(bare))["result"] == {**result, "deep": False, "share": 0.5}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"numbers": "[1"}, "numbers"),
        ({"numbers": '{"a": 1}'}, "numbers"),
        ({"numbers": "[" * 40 + "]" * 40}, "numbers"),
        ({"numbers": "[NaN]"}, "numbers"),
        ({"numbers": '[1, "two"]'}, "numbers"),
        ({"numbers": ""}, "numbers"),
        ({"where": "/etc"}, "where"),
        ({"share": "much"}, "share"),
        ({"mode": "medium"}, "mode"),
        ({"more": "1"}, "more"),
    ],
)
def test_a_form_that_does_not_fit_comes_back_as_it_was_filled_in(
    calm: Any, changes: dict[str, str], field: str
) -> None:
    response = calm.form("/start/shapes", **{**SHAPES, **changes})

    assert response.status_code == 422
    wrong = re.findall(r'class="field-error"[^>]*>([^<]+)<', response.text)
    assert len(wrong) == 1
    assert html.escape("[1, 2]") in response.text or "numbers" in changes
    if field != "more":
        assert f'id="start-shapes-{field}-error">{wrong[0]}' in response.text


def test_a_form_for_a_definition_that_is_full_says_so(web: Make) -> None:
    server = web()
    server.start("hold")
    server.start("hold")

    response = server.form("/start/hold")

    assert response.status_code == 409
    assert "2 is its most" in response.text


@pytest.mark.parametrize("path", ["/start/add", "/tasks/held/cancel", "/tasks/held/retry"])
@pytest.mark.parametrize("token", ["", "made-up", None])
def test_a_form_without_the_pages_token_does_nothing(
    web: Make, path: str, token: str | None
) -> None:
    server = web()
    server.post("/api/tasks", json={"task": "hold", "task_id": "held"})
    server.get("/")

    response = server.post(path, data={} if token is None else {"csrf_token": token})

    assert response.status_code == 403
    assert "forbidden" in response.text
    assert len(server.get("/api/tasks").json["tasks"]) == 1
    assert server.get("/api/tasks/held").json["cancel_requested"] is False


def test_a_forms_token_is_one_visitors_own(web: Make) -> None:
    server = web()
    found = re.search(r'name="csrf_token" value="([^"]+)"', server.get("/").text)
    assert found
    stranger = server.app.test_client()
    stranger.get("/")

    response = stranger.post("/start/add", data={"csrf_token": found.group(1)})

    assert response.status_code == 403


def test_cancelling_asks_once_more_and_then_leads_back(web: Make) -> None:
    # Given
    server = web()
    task_id = server.start("hold")
    path = f"/tasks/{task_id}/cancel"

    # When
    question = server.get(path)
    assert server.get(f"/api/tasks/{task_id}").json["cancel_requested"] is False
    done = server.form(path, page=path)

    # Then
    assert "Cancel this task?" in question.text
    assert task_of(done) == task_id
    assert server.ended(task_id)["status"] == "cancelled"
    assert task_of(server.get(path)) == task_id
    assert task_of(server.form(path)) == task_id


def test_retrying_leads_to_the_new_task(web: Make) -> None:
    server = web()
    task_id = server.start("add", a=9)
    server.ended(task_id)

    new = task_of(server.form(f"/tasks/{task_id}/retry"))

    assert new != task_id
    assert server.ended(new)["args"] == {"a": 9}


def test_a_form_over_the_limit_is_too_large(web: Make) -> None:
    server = web(max_payload_bytes=1000)

    response = server.form("/start/add", a="1" * 1000)

    assert response.status_code == 413
    assert response.content_type == "text/html; charset=utf-8"


# -- signing in ----------------------------------------------------------------------------------


def test_a_token_in_the_address_becomes_a_cookie_and_is_redirected_away(web: Make) -> None:
    server = web(token="right")

    response = server.get("/?status=failed&token=right&search=a+b")
    after = server.get("/")

    assert response.status_code == 303
    assert response.headers["Location"] == "/?status=failed&search=a+b"
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("socketprogress_host=")
    assert "right" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert after.status_code == 200


def test_the_page_to_sign_in_is_left_again_by_who_is_signed_in(web: Make) -> None:
    server = web(token="right")

    arrived = server.get("/login?next=/tasks/x&token=right")
    onward = server.get(arrived.headers["Location"])

    assert arrived.headers["Location"] == "/login?next=%2Ftasks%2Fx"
    assert (onward.status_code, onward.headers["Location"]) == (303, "/tasks/x")


@pytest.mark.parametrize("path", ["/", "/tasks/x", "/embed/x", "/login"])
def test_a_wrong_token_in_the_address_opens_nothing(web: Make, path: str) -> None:
    server = web(token="right")

    response = server.get(f"{path}?token=wrong")

    assert response.status_code == 401
    assert "socketprogress_" not in response.headers.get("Set-Cookie", "")
    assert server.get("/").status_code == 401


def test_a_token_is_redirected_away_where_none_is_needed(calm: Any) -> None:
    response = calm.get("/?token=anything")

    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert "socketprogress_" not in response.headers.get("Set-Cookie", "")


def test_who_has_no_token_is_asked_for_it_and_gets_to_the_page_that_was_wanted(web: Make) -> None:
    # Given somebody without a token, who wants a page
    server = web(token="right")
    asked = server.get("/tasks/some?x=1")
    assert asked.status_code == 401
    target = re.search(r'action="([^"]+)"', asked.text)
    assert target
    path = html.unescape(target.group(1))

    # When
    wrong = server.form(path, page="/tasks/some?x=1", token="wrong")
    right = server.form(path, page="/tasks/some?x=1", token=" right ")

    # Then
    assert wrong.status_code == 401
    assert "This is not the token" in wrong.text
    assert (right.status_code, right.headers["Location"]) == (303, "/tasks/some?x=1")
    assert server.get("/").status_code == 200


@pytest.mark.parametrize(
    "after", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\nb"]
)
def test_signing_in_leads_nowhere_else(web: Make, after: str) -> None:
    server = web(token="right")
    html_text = server.get("/login").text
    found = re.search(r'name="csrf_token" value="([^"]+)"', html_text)
    assert found

    response = server.post(
        "/login",
        query_string={"next": after},
        data={"csrf_token": found.group(1), "token": "right"},
    )

    assert (response.status_code, response.headers["Location"]) == (303, "/")


def test_an_application_without_a_secret_shows_pages_and_takes_no_forms(web: Make) -> None:
    server = web()
    server.app.secret_key = None

    assert server.get("/").status_code == 200
    response = server.post("/start/add", data={"csrf_token": ""})
    assert response.status_code == 403
    assert "SECRET_KEY" in response.text
