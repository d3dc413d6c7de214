"""The JSON API: what it answers, how it refuses, how it waits."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from socketprogress.server.assets import Assets

Make = Callable[..., Any]


def error_of(response: Any) -> dict[str, Any]:
    assert response.content_type == "application/json"
    return dict(response.json["error"])


# -- starting ------------------------------------------------------------------------------------


def test_a_started_task_is_created_at_its_location_and_runs_to_its_end(web: Make) -> None:
    server = web()

    response = server.post("/api/tasks", json={"task": "add", "args": {"a": 2, "b": 3}})

    assert response.status_code == 201
    task_id = response.json["task_id"]
    assert response.json["task"]["title"] == "Add 2"
    assert response.headers["Location"] == f"/api/tasks/{task_id}"
    ended = server.ended(task_id)
    assert (ended["status"], ended["progress"], ended["result"]) == ("completed", 100, 5)


@pytest.mark.parametrize("body", ["null", "{}", '"add"', '{"task": null, "args": null}'])
def test_a_start_without_a_name_starts_the_default_task(web: Make, body: str) -> None:
    response = web().post("/api/tasks", data=body, content_type="application/json")

    assert response.status_code == 201
    assert response.json["task"]["name"] == "add"


def test_the_same_task_id_again_is_the_same_task(web: Make) -> None:
    server = web()
    wanted = {"task": "add", "args": {"a": 7}, "task_id": "mine-1", "title": "Seven"}

    first = server.post("/api/tasks", json=wanted)
    again = server.post("/api/tasks", json={**wanted, "args": {"a": 8}})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json["task_id"] == "mine-1"
    assert again.json["task"]["args"] == {"a": 7}
    assert again.json["task"]["title"] == "Seven"


DEEP = "[" * 40 + "]" * 40
WRONG = [
    ('{"task": 3}', "task"),
    ("5", "task"),
    ("[]", "task"),
    (json.dumps({"task": "x" * 201}), "task"),
    (json.dumps({"title": "x" * 501}), "title"),
    ('{"args": []}', "args"),
    ('{"arguments": {}}', "arguments"),
    ('{"task_id": "a b"}', "task_id"),
    ('{"task_id": ""}', "task_id"),
    (json.dumps({"tags": ["a"] * 101}), "tags"),
    ('{"tags": [1]}', "tags"),
    ('{"tags": "a"}', "tags"),
    ('{"args": {"a": NaN}}', "a"),
    ('{"args": {"a": {"b": 1e999}}}', "a.b"),
    ('{"args": {"a": 99999999999999999999}}', "a"),
    (f'{{"args": {{"a": {DEEP}}}}}', "a"),
    ('{"task": "add", "task": "hold"}', "task"),
    ('{"task": "add"', None),
    ("[" * 30_000, None),
    ("", None),
    (b'"\xff"', None),
]


@pytest.mark.parametrize(("body", "field"), WRONG)
def test_a_payload_that_does_not_fit_is_refused_with_its_field(
    calm: Any, body: str, field: str | None
) -> None:
    response = calm.post("/api/tasks", data=body, content_type="application/json")

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "invalid_payload"
    assert error.get("field") == field
    assert calm.get("/api/tasks").json["tasks"] == []


@pytest.mark.parametrize(
    ("payload", "status", "code", "field"),
    [
        ({"task": "nothing"}, 404, "unknown_definition", "task"),
        ({"task": "add", "args": {"a": "2"}}, 422, "invalid_arguments", "a"),
        ({"task": "add", "args": {"c": 2}}, 422, "invalid_arguments", "c"),
        (
            {"task": "shapes", "args": {"where": "../..", "numbers": []}},
            422,
            "invalid_arguments",
            "where",
        ),
        ({"task": "shapes", "args": {"where": "."}}, 422, "invalid_arguments", "numbers"),
    ],
)
def test_what_cannot_be_started_says_why(
    calm: Any, payload: Any, status: int, code: str, field: str
) -> None:
    response = calm.post("/api/tasks", json=payload)

    assert response.status_code == status
    assert (error_of(response)["code"], error_of(response)["field"]) == (code, field)


def test_a_definition_that_is_full_names_what_runs(web: Make) -> None:
    server = web()
    running = {server.start("hold"), server.start("hold")}

    response = server.post("/api/tasks", json={"task": "hold"})

    assert response.status_code == 409
    assert error_of(response)["code"] == "already_running"
    assert set(response.json["running"]) == running


def test_only_json_is_taken(calm: Any) -> None:
    response = calm.post("/api/tasks", data={"task": "add"})

    assert response.status_code == 415
    assert error_of(response)["code"] == "invalid_payload"


def test_a_body_over_the_limit_is_too_large_whether_it_says_its_length_or_not(web: Make) -> None:
    server = web(max_payload_bytes=1000)
    body = json.dumps({"task": "add", "title": "x" * 1000}).encode()

    said = server.post("/api/tasks", data=body, content_type="application/json")
    endless = {"wsgi.input": _Endless(), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    unsaid = server.post("/api/tasks", content_type="application/json", environ_overrides=endless)

    for response in (said, unsaid):
        assert response.status_code == 413
        assert error_of(response)["code"] == "too_large"


class _Endless:
    """A body without an end."""

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "nobody may read all of it"
        return b" " * size


def test_half_a_surrogate_does_not_break_anything(web: Make) -> None:
    server = web()
    body = '{"task": "add", "title": "a\\ud800b", "tags": ["\\udfff"]}'

    response = server.post("/api/tasks", data=body, content_type="application/json")

    assert response.status_code == 201
    assert response.json["task"]["title"] == "a?b"
    assert server.get("/").status_code == 200


# -- reading -------------------------------------------------------------------------------------


def test_the_list_filters_counts_and_pages(web: Make) -> None:
    server = web()
    held = server.start("hold")
    ids = [server.start("add", a=number) for number in range(5)]
    for task_id in ids:
        server.ended(task_id)

    everything = server.get("/api/tasks").json
    first = server.get("/api/tasks?status=completed&limit=2").json
    second = server.get(
        "/api/tasks", query_string={"status": "completed", "limit": 2, "before": first["next"]}
    ).json
    found = server.get("/api/tasks?search=add%203&status=completed,failed").json

    assert everything["tasks"][0]["task_id"] == held
    assert everything["counts"]["completed"] == 5
    assert everything["next"] is None
    assert "result" not in everything["tasks"][1]
    pages = [task["task_id"] for task in first["tasks"] + second["tasks"]]
    assert len(set(pages)) == 4
    assert set(pages) <= set(ids)
    assert [task["task_id"] for task in found["tasks"]] == [ids[3]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.0", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=done", "status"),
        ("before=yesterday", "before"),
        ("state=failed", "state"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_with_its_field(
    calm: Any, query: str, field: str
) -> None:
    response = calm.get(f"/api/tasks?{query}")

    assert response.status_code == 400
    assert error_of(response)["field"] == field


def test_a_task_that_is_not_there_is_unknown(calm: Any) -> None:
    for path in ("", "/log", "/files/a.txt"):
        response = calm.get(f"/api/tasks/nobody{path}")
        assert (response.status_code, error_of(response)["code"]) == (404, "unknown_task")
    for path in ("cancel", "retry"):
        response = calm.post(f"/api/tasks/nobody/{path}")
        assert (response.status_code, error_of(response)["code"]) == (404, "unknown_task")


def test_an_id_that_is_none_is_the_fields_fault(calm: Any) -> None:
    response = calm.get("/api/tasks/a%20b")

    assert response.status_code == 400
    assert error_of(response)["field"] == "task_id"


def test_a_snapshot_that_has_not_changed_is_not_sent_again(web: Make) -> None:
    server = web()
    task_id = server.start("add")
    server.ended(task_id)
    first = server.get(f"/api/tasks/{task_id}")

    again = server.get(f"/api/tasks/{task_id}", headers={"If-None-Match": first.headers["ETag"]})
    other = server.get(f"/api/tasks/{task_id}", headers={"If-None-Match": '"something-1"'})

    assert first.headers["ETag"] == f'"{first.json["epoch"]}-{first.json["seq"]}"'
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert other.status_code == 200


def test_the_seconds_of_a_task_that_says_nothing_go_on(web: Make) -> None:
    # Given a task that stands still, and one that is over
    server = web()
    over = server.start("add")
    before = server.ended(over)
    task_id = server.start("hold")
    etag = _standing(server, task_id)
    first = server.get(f"/api/tasks/{task_id}").json

    # Then each answer says how long it has run by now, and it is the same state all the same
    assert etag.startswith("W/")
    for path, task in (
        (f"/api/tasks/{task_id}", lambda body: body),
        ("/api/tasks?status=in_progress", lambda body: body["tasks"][0]),
    ):
        later = _when(
            lambda path=path, task=task: task(server.get(path).json),
            lambda answer: answer["elapsed_s"] > first["elapsed_s"],
        )
        assert (later["seq"], later["updated_at"]) == (first["seq"], first["updated_at"])
    same = server.get(f"/api/tasks/{task_id}", headers={"If-None-Match": etag})
    assert same.status_code == 304
    assert server.get(f"/api/tasks/{over}").json == before


def test_definitions_carry_their_schema(calm: Any) -> None:
    definitions = {d["name"]: d for d in calm.get("/api/definitions").json["definitions"]}

    assert definitions["add"]["description"] == "Adds two numbers."
    assert definitions["add"]["schema"]["properties"]["a"] == {"type": "integer", "default": 1}


# -- waiting -------------------------------------------------------------------------------------


def test_a_wait_ends_with_the_next_change(web: Make) -> None:
    # Given a task that stands still, and somebody who has its newest state
    server = web()
    task_id = server.start("hold")
    etag = _standing(server, task_id)
    answers: list[Any] = []

    def wait() -> None:
        visitor = server.app.test_client()
        path = f"{server.prefix}/api/tasks/{task_id}?wait=60"
        answers.append(visitor.get(path, headers={"If-None-Match": etag}))

    waiting = threading.Thread(target=wait)
    waiting.start()
    _until_listened(server, task_id)

    # When it goes on
    server.gates.go.set()
    waiting.join(timeout=20)

    # Then the wait is over, and nobody listens any more
    assert answers[0].status_code == 200
    assert answers[0].headers["ETag"] != etag
    assert task_id not in server.progress.engine.hub._listeners


def test_a_wait_in_vain_ends_with_not_modified_or_with_the_snapshot(web: Make) -> None:
    server = web()
    task_id = server.start("hold")
    etag = _standing(server, task_id)
    path = f"/api/tasks/{task_id}?wait=0.05"

    assert server.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert server.get(path).json["task_id"] == task_id


def test_nobody_waits_for_a_task_that_has_ended_or_for_what_is_news_already(web: Make) -> None:
    server = web()
    ended, held = server.start("add"), server.start("hold")
    etag = f'"{server.ended(ended)["epoch"]}-{server.ended(ended)["seq"]}"'
    _standing(server, held)

    same = server.get(f"/api/tasks/{ended}?wait=60", headers={"If-None-Match": etag})
    news = server.get(f"/api/tasks/{held}?wait=60", headers={"If-None-Match": '"old-1"'})

    assert same.status_code == 304
    assert news.status_code == 200


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", "", "1_0"])
def test_a_wait_that_is_no_time_is_refused(calm: Any, wait: str) -> None:
    calm.client.put("/api/tasks/known", json={})
    response = calm.get("/api/tasks/known", query_string={"wait": wait})

    assert response.status_code == 400
    assert error_of(response)["field"] == "wait"


def test_a_wait_over_a_minute_is_a_minute(web: Make) -> None:
    server = web()
    task_id = server.start("add")
    server.ended(task_id)

    assert server.get(f"/api/tasks/{task_id}?wait=1e300").status_code == 200


def _standing(server: Any, task_id: str) -> str:
    """Wait until the held task has said all it says before it is let go; return its ETag."""
    for _ in range(100):
        response = server.get(f"/api/tasks/{task_id}?wait=0.2")
        lines = server.get(f"/api/tasks/{task_id}/log").json["lines"]
        settled = server.get(f"/api/tasks/{task_id}")
        same = response.headers["ETag"] == settled.headers["ETag"]
        if same and lines and settled.json["progress"] == 50:
            return str(settled.headers["ETag"])
    pytest.fail(f"the task did not come to rest: {response.text}")


def _when(look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """Return the first answer that is as it should be."""
    pause = threading.Event()
    for _ in range(2000):
        answer = look()
        if holds(answer):
            return answer
        pause.wait(0.005)
    pytest.fail(f"it stays {answer}")


def _until_listened(server: Any, task_id: str) -> None:
    listeners = server.progress.engine.hub._listeners
    pause = threading.Event()
    for _ in range(2000):
        if task_id in listeners:
            return
        pause.wait(0.005)
    pytest.fail("nobody listens")


# -- acting, log, files --------------------------------------------------------------------------


def test_a_task_is_cancelled_and_tried_again(web: Make) -> None:
    server = web()
    task_id = server.start("hold")

    cancelled = server.post(f"/api/tasks/{task_id}/cancel")
    ended = server.ended(task_id)
    late = server.post(f"/api/tasks/{task_id}/cancel")
    again = server.post(f"/api/tasks/{task_id}/retry")
    running = server.post(f"/api/tasks/{again.json['task_id']}/retry")

    assert cancelled.status_code == 200
    assert cancelled.json["task"]["cancel_requested"] is True
    assert ended["status"] == "cancelled"
    assert (late.status_code, error_of(late)["code"]) == (409, "task_ended")
    assert again.status_code == 201
    assert again.json["task_id"] != task_id
    assert (running.status_code, running.json["running"]) == (409, [again.json["task_id"]])


def test_the_log_is_read_in_parts_and_from_its_end(web: Make) -> None:
    server = web()
    task_id = server.start("hold")
    server.progress.engine.hub.log(task_id, [f"line {number}" for number in range(10)])
    _standing(server, task_id)

    first = server.get(f"/api/tasks/{task_id}/log?limit=3").json
    rest = server.get(f"/api/tasks/{task_id}/log?offset={first['next_offset']}").json
    last = server.get(f"/api/tasks/{task_id}/log?offset=-1").json

    assert (first["offset"], len(first["lines"]), first["next_offset"]) == (0, 3, 3)
    assert sorted([*first["lines"], *rest["lines"]]) == sorted(
        ["half of it is done", *(f"line {number}" for number in range(10))]
    )
    assert last["lines"] == rest["lines"][-1:]
    assert server.get(f"/api/tasks/{task_id}/log?offset=first").status_code == 400


def test_a_result_file_is_an_attachment_whole_or_in_part(web: Make) -> None:
    # Given
    server = web()
    text = "0123456789" * 6_000
    task_id = server.start("write", name="über 日本.html", text=text)
    file = server.ended(task_id)["files"][0]

    # When
    head = server.client.head(file["url"])
    head.close()
    whole = server.client.get(file["url"])
    part = server.client.get(file["url"], headers={"Range": "bytes=10-14"})
    tail = server.client.get(file["url"], headers={"Range": "bytes=-3"})
    beyond = server.client.get(file["url"], headers={"Range": "bytes=99999999-"})
    same = server.client.get(file["url"], headers={"If-None-Match": whole.headers["ETag"]})
    other = server.client.get(file["url"], headers={"Range": "bytes=0-1", "If-Range": '"another"'})

    # Then
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(text)))
    assert (whole.status_code, whole.text) == (200, text)
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Content-Disposition"] == (
        "attachment; filename=\"_ber __.html\"; filename*=UTF-8''%C3%BCber%20%E6%97%A5%E6%9C%AC.html"
    )
    assert int(whole.headers["Content-Length"]) == file["size_bytes"] == len(text)
    assert (part.status_code, part.text) == (206, "01234")
    assert part.headers["Content-Range"] == f"bytes 10-14/{len(text)}"
    assert (tail.status_code, tail.text) == (206, "789")
    assert beyond.status_code == 416
    assert same.status_code == 304
    assert (other.status_code, len(other.text)) == (200, len(text))


@pytest.mark.parametrize(
    "name", ["b.txt", "../a.txt", "..%2f..%2fsecret", "%2e%2e/secret", "a.txt/", "/etc/passwd"]
)
def test_only_the_tasks_own_files_are_handed_out(web: Make, name: str) -> None:
    server = web()
    (server.settings.data / "secret").write_text("top secret")
    task_id = server.start("write", name="a.txt", text="a")
    server.ended(task_id)

    response = server.get(f"/api/tasks/{task_id}/files/{name}")

    assert response.status_code in {308, 404}
    assert "top secret" not in response.text


def test_a_link_that_leads_out_of_the_results_is_not_followed(web: Make) -> None:
    server = web()
    secret = server.settings.data / "secret"
    secret.write_text("top secret")
    task_id = server.start("write", name="a.txt", text="a")
    server.ended(task_id)
    path = server.progress.engine.service.output_dir(task_id) / "a.txt"
    path.unlink()
    path.symlink_to(secret)

    assert server.get(f"/api/tasks/{task_id}/files/a.txt").status_code == 404


# -- the rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/progress"])
def test_unknown_paths_and_methods_are_json_errors_below_the_api(web: Make, prefix: str) -> None:
    server = web(prefix=prefix)

    unknown = server.get("/api/nothing")
    wrong = server.client.delete(f"{prefix}/api/tasks")

    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "invalid_payload")
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "invalid_payload")
    assert "POST" in wrong.headers["Allow"]
    assert wrong.headers["X-Content-Type-Options"] == "nosniff"


def test_the_urls_of_an_embedded_server_are_under_its_prefix(web: Make) -> None:
    server = web(prefix="/progress")
    response = server.post("/api/tasks", json={"task": "write", "args": {"name": "a", "text": "b"}})

    task_id = response.json["task_id"]
    file = server.ended(task_id)["files"][0]

    assert response.headers["Location"] == f"/progress/api/tasks/{task_id}"
    assert file["url"] == f"/progress/api/tasks/{task_id}/files/a"
    assert server.client.get(file["url"]).text == "b"


def test_a_bug_is_logged_and_its_traceback_reaches_nobody(
    web: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = web()
    monkeypatch.setattr(server.progress.engine.hub, "page", None)

    response = server.get("/api/tasks")
    page = server.get("/")

    assert (response.status_code, error_of(response)["code"]) == (500, "unavailable")
    assert "TypeError" in caplog.text
    for text in (response.text, page.text):
        assert "Traceback" not in text
        assert "TypeError" not in text


def test_health_is_told_to_everybody_and_its_reasons_to_those_who_may_see(web: Make) -> None:
    server = web(token="right")
    server.progress.engine.service._stopping = True

    stranger = server.get("/healthz", headers={"Host": "anything.example"})
    friend = server.get("/healthz", headers={"Authorization": "Bearer right"})

    assert (stranger.status_code, stranger.json) == (200, {"status": "degraded", "reasons": []})
    assert friend.json == {"status": "degraded", "reasons": ["the server is stopping"]}


def test_health_tells_its_reasons_to_nobody_who_came_by_a_foreign_name(web: Make) -> None:
    server = web()
    server.progress.engine.service._stopping = True

    foreign = server.get("/healthz", headers={"Host": "anything.example"})

    assert (foreign.status_code, foreign.json) == (200, {"status": "degraded", "reasons": []})
    assert server.get("/healthz").json["reasons"] == ["the server is stopping"]


def test_static_files_are_kept_for_ever_by_their_version_and_asked_for_again_without(
    calm: Any,
) -> None:
    server = calm
    named = re.search(r'href="(/static/~\w+)/css/socketprogress.css"', server.get("/").text)
    assert named
    plain = server.get("/static/css/socketprogress.css")
    same = server.get(
        "/static/css/socketprogress.css", headers={"If-None-Match": plain.headers["ETag"]}
    )

    for name in ("css/socketprogress.css", "js/list-page.js", "js/vendor/socket.io.esm.min.js"):
        lasting, current = server.get(f"{named[1]}/{name}"), server.get(f"/static/{name}")
        earlier = server.get(f"/static/~0123456789abcdef/{name}")
        assert "immutable" in lasting.headers["Cache-Control"]
        assert lasting.data == current.data == earlier.data
        for other in (current, earlier):
            assert other.headers["Cache-Control"] == "no-cache"
    assert plain.headers["Content-Type"] == "text/css; charset=utf-8"
    assert same.status_code == 304


def test_a_changed_static_file_has_another_address(tmp_path: Path) -> None:
    (tmp_path / "js").mkdir()
    script, other = tmp_path / "js" / "one.js", tmp_path / "js" / "two.js"
    script.write_text('import {\n  two,\n} from "./two.js";\n')
    other.write_text("export const two = 2;\n")
    assets = Assets(tmp_path)
    before = assets.addresses()("js/one.js")
    assert assets.addresses()("js/one.js") == before
    assert assets.modules("js/one.js") == ("js/one.js", "js/two.js")

    other.write_text('import "./one.js";\nexport const two = 3;\n')

    after = assets.addresses()("js/one.js")
    assert after != before
    assert assets.at(before)[1] is False
    assert assets.at(after)[1] is True
    assert assets.modules("js/two.js") == ("js/two.js", "js/one.js")


def test_a_static_file_is_kept_once_by_whatever_name_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "one.js").write_text("export const one = 1;\n")
    assets = Assets(tmp_path)
    first = assets.get("one.js")

    assert first is not None
    for name in ("./one.js", "any/../one.js", "other/../one.js"):
        assert assets.get(name) is first


@pytest.mark.parametrize(
    "name",
    [
        "nothing.css",
        "../pyproject.toml",
        "%2e%2e/README.md",
        "js",
        "js/types.d.ts",
        "a%00.js",
        "~a/../../pyproject.toml",
        "~a",
        "~",
        "a" * 300 + ".js",
    ],
)
def test_nothing_but_static_files_is_served_as_static(calm: Any, name: str) -> None:
    assert calm.get(f"/static/{name}").status_code == 404
