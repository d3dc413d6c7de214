"""Uploads over real connections: whole or nothing, a task from the first byte, resumed where cut."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from socketprogress.server.filenames import safe_name

WAIT_S = 30.0
MODES = ["eventlet", "threading", "gevent"]
TERMINAL = {"completed", "failed", "cancelled"}
CSV = b"name,size\none,1\ntwo,2\n"
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}


class Visitor:
    """Somebody with files for one server."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request; return status, headers and the body, JSON decoded."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=WAIT_S)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, names)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        found = {k.lower(): v for k, v in response.headers.items()}
        return response.status, found, json.loads(data) if is_json and data else data

    def upload(self, content: bytes, *, name: str = "a.csv", **fields: str) -> tuple[int, Any]:
        """Send a form with a file after its fields."""
        status, _, body = self.ask(
            "POST", "/api/uploads", form(content, name, fields), Content_Type=FORM
        )
        return status, body

    def tasks(self) -> int:
        """Return how many tasks there are."""
        return sum(self.ask("GET", "/api/tasks")[2]["counts"].values())

    def snapshot(self, task_id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/api/tasks/{task_id}")[2])

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's end."""
        return self.when(task_id, lambda task: task["status"] in TERMINAL)

    def when(self, task_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while not holds(task := self.snapshot(task_id)):
            assert time.monotonic() < deadline, task
            self.ask("GET", f"/api/tasks/{task_id}?wait=1")
        return task

    def newest(self) -> dict[str, Any]:
        """Wait for a task to be there, and return the newest."""
        deadline = time.monotonic() + WAIT_S
        while not (tasks := self.ask("GET", "/api/tasks?limit=1")[2]["tasks"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return dict(tasks[0])

    def left(self) -> list[Path]:
        """Return the files of uploads that lie on the disk."""
        return [path for path in (self.server.data / "uploads").rglob("*") if path.is_file()]

    def nothing_left(self) -> bool:
        deadline = time.monotonic() + 5
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.left()


FORM = "multipart/form-data; boundary=edge"
PAGE = "text/html,application/xhtml+xml"


def form(content: bytes, name: str, fields: dict[str, str], *, file_first: bool = False) -> bytes:
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    file = (
        (
            f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + content
        + b"\r\n"
    )
    parts.insert(0 if file_first else len(parts), file)
    return b"".join(parts) + b"--edge--\r\n"


@pytest.fixture(scope="module", params=MODES)
def visitor(request: pytest.FixtureRequest, lasting_server: Callable[..., Any]) -> Visitor:
    """A visitor of a server in each async mode."""
    return Visitor(lasting_server("--max-upload", "3MB", mode=request.param))


def test_a_file_is_kept_whole_and_offered(visitor: Visitor) -> None:
    status, body = visitor.upload(CSV, name="numbers.csv", title="My numbers")

    task = visitor.ended(body["task_id"])
    assert status == 201
    assert (task["status"], task["title"], task["progress"]) == ("completed", "My numbers", 100)
    assert [(f["name"], f["size_bytes"]) for f in task["files"]] == [("numbers.csv", len(CSV))]
    assert visitor.ask("GET", task["files"][0]["url"])[2] == CSV
    assert visitor.nothing_left()


@pytest.mark.parametrize("file_first", [False, True])
def test_a_file_goes_to_a_task_function_in_the_same_task(
    visitor: Visitor, file_first: bool
) -> None:
    body = form(CSV, "numbers.csv", {"task": "csv_import"}, file_first=file_first)
    _, _, answer = visitor.ask("POST", "/api/uploads", body, Content_Type=FORM)

    task = visitor.ended(answer["task_id"])
    assert (task["status"], task["name"], task["title"]) == (
        "completed",
        "csv_import",
        "Import numbers.csv",
    )
    assert task["steps"][0]["name"] == "Upload"
    assert {step["status"] for step in task["steps"]} == {"completed"}
    assert task["result"]["rows"] == 2
    assert visitor.nothing_left()


def test_an_archive_is_made_of_an_upload(visitor: Visitor) -> None:
    _, body = visitor.upload(CSV, name="numbers.csv", task="archive", args='{"format": "zip"}')

    task = visitor.ended(body["task_id"])

    assert task["status"] == "completed"
    assert [file["name"] for file in task["files"]] == ["numbers.csv.zip"]


def test_others_see_the_bytes_arrive(visitor: Visitor) -> None:
    # Given an upload of which half has been sent
    content = bytes(2_000_000)
    body = form(content, "half.bin", {"task_id": f"half-{visitor.server.port}"})
    sock = begun(visitor, body)
    sock.sendall(body[: len(body) // 2])

    # Then its task shows that half to everybody
    task_id = f"half-{visitor.server.port}"
    while visitor.ask("GET", f"/api/tasks/{task_id}")[0] != 200:
        time.sleep(0.02)
    task = visitor.when(task_id, lambda task: task["current"] > 900_000)
    assert (task["status"], task["unit"], task["total"]) == ("in_progress", "B", 2_000_000)
    assert 45 <= task["progress"] <= 51

    # When the rest follows, then it is whole
    sock.sendall(body[len(body) // 2 :])
    assert visitor.ended(task_id)["status"] == "completed"
    sock.close()


@pytest.mark.parametrize("sent", [0.1, 0.5, 0.99])
def test_a_cut_upload_fails_and_leaves_nothing(visitor: Visitor, sent: float) -> None:
    task_id = f"cut-{int(sent * 100)}-{visitor.server.port}"
    body = form(bytes(1_000_000), "cut.bin", {"task_id": task_id})
    sock = begun(visitor, body)
    sock.sendall(body[: int(sent * len(body))])
    while visitor.ask("GET", f"/api/tasks/{task_id}")[0] != 200:
        time.sleep(0.02)

    sock.close()

    task = visitor.ended(task_id)
    assert (task["status"], task["error"]["code"]) == ("failed", "interrupted")
    assert task["files"] == []
    assert visitor.nothing_left()


def test_a_cancelled_upload_leaves_nothing(visitor: Visitor) -> None:
    task_id = f"cancelled-{visitor.server.port}"
    body = form(bytes(1_000_000), "gone.bin", {"task_id": task_id})
    sock = begun(visitor, body)
    sock.sendall(body[:500_000])
    while visitor.ask("GET", f"/api/tasks/{task_id}")[0] != 200:
        time.sleep(0.02)

    assert visitor.ask("POST", f"/api/tasks/{task_id}/cancel")[0] == 200

    assert visitor.ended(task_id)["status"] == "cancelled"
    assert visitor.nothing_left()
    sock.close()


def test_what_is_too_large_is_refused_by_name(visitor: Visitor) -> None:
    # by its announced length, before a task is there
    before = visitor.tasks()
    headers = {"Content-Type": FORM, "Content-Length": str(10**8)}
    connection = http.client.HTTPConnection("127.0.0.1", visitor.server.port, timeout=WAIT_S)
    connection.putrequest("POST", "/api/uploads")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "too_large")
    connection.close()
    assert visitor.tasks() == before

    # and by its bytes
    status, body = visitor.upload(bytes(3_500_000), name="large.bin")
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert visitor.nothing_left()


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"task": "none"}, 404, "unknown_definition", "task"),
        ({"task": "csv_import", "args": "{"}, 400, "invalid_payload", "args"),
        ({"task": "csv_import", "args": '{"path": "a"}'}, 422, "invalid_arguments", "path"),
        ({"task": "csv_import", "args": '{"what": 1}'}, 422, "invalid_arguments", "what"),
        ({"colour": "red"}, 400, "invalid_payload", "colour"),
        ({"task_id": "a b"}, 400, "invalid_payload", "task_id"),
    ],
)
def test_what_cannot_be_is_refused_before_the_file_and_leaves_nothing(
    visitor: Visitor, fields: dict[str, str], status: int, code: str, field: str
) -> None:
    before = visitor.tasks()

    refused, body = visitor.upload(CSV, **fields)

    assert (refused, body["error"]["code"], body["error"]["field"]) == (status, code, field)
    assert visitor.tasks() == before
    assert visitor.nothing_left()


def test_what_is_no_form_is_refused(visitor: Visitor) -> None:
    for body, kind in ((b"{}", "application/json"), (b"--edge--\r\n", FORM), (b"x", FORM)):
        status, _, answer = visitor.ask("POST", "/api/uploads", body, Content_Type=kind)
        assert (status, answer["error"]["code"]) == (400, "invalid_payload")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "file"),
        ("..", "file"),
        (".htaccess", "htaccess"),
        ("a\0b\n.csv", "a b .csv"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("é" * 300 + ".csv", "é" * 98 + ".csv"),
        ('con<>:"|?*.txt', "con_.txt"),
    ],
)
def test_a_hostile_name_becomes_a_plain_one(name: str, kept: str) -> None:
    assert safe_name(name) == kept


def test_a_hostile_name_stays_in_the_servers_folder(visitor: Visitor) -> None:
    _, body = visitor.upload(CSV, name="../../../../tmp/evil.csv")

    task = visitor.ended(body["task_id"])

    assert [file["name"] for file in task["files"]] == ["evil.csv"]
    assert (visitor.server.data / "files" / body["task_id"] / "evil.csv").is_file()


def test_a_browser_without_scripts_is_sent_to_the_tasks_page(visitor: Visitor) -> None:
    # Given a page of ours, with its token and its cookie
    _, headers, page = visitor.ask("GET", "/", Accept=PAGE)
    found = re.search(rb'name="csrf_token" value="([^"]+)"', page)
    assert found
    token, cookie = found[1].decode(), headers["set-cookie"].partition(";")[0]

    # When its form is sent, then the task's page follows
    sent = form(CSV, "a.csv", {"csrf_token": token, "task": "", "title": ""})
    status, headers, _ = visitor.ask(
        "POST", "/api/uploads", sent, Content_Type=FORM, Accept=PAGE, Cookie=cookie
    )
    assert status == 303
    assert "/tasks/" in headers["location"]

    # When another page's is sent, then nothing is taken
    forged = form(CSV, "a.csv", {"csrf_token": "guessed"})
    status, headers, _ = visitor.ask(
        "POST", "/api/uploads", forged, Content_Type=FORM, Accept=PAGE, Cookie=cookie
    )
    assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert visitor.nothing_left()


def test_a_pages_form_has_the_arguments_of_several_definitions(visitor: Visitor) -> None:
    # Given what a browser without scripts sends: all fields, whatever the file is for
    _, headers, page = visitor.ask("GET", "/", Accept=PAGE)
    found = re.search(rb'name="csrf_token" value="([^"]+)"', page)
    assert found
    assert b'name="csv_import:table"' in page
    cookie = headers["set-cookie"].partition(";")[0]
    fields = {
        "csrf_token": found[1].decode(),
        "task": "csv_import",
        "csv_import:table": "people",
        "archive:format": "zip",
        "archive:table": "no",
    }

    # When it is for one of them
    status, headers, _ = visitor.ask(
        "POST",
        "/api/uploads",
        form(CSV, "a.csv", fields),
        Content_Type=FORM,
        Accept=PAGE,
        Cookie=cookie,
    )

    # Then this has its own
    assert status == 303
    task = visitor.ended(headers["location"].rpartition("/")[2])
    assert (task["status"], task["args"]) == (
        "completed",
        {"path": "a.csv", "table": "people"},
    )


def test_another_sites_form_is_refused(visitor: Visitor) -> None:
    status, _, _ = visitor.ask(
        "POST", "/api/uploads", form(CSV, "a", {}), Content_Type=FORM, Origin="http://evil.example"
    )

    assert status == 403


def begun(visitor: Visitor, body: bytes) -> socket.socket:
    """Return a connection on which a form of this length is announced."""
    sock = socket.create_connection(("127.0.0.1", visitor.server.port), timeout=WAIT_S)
    sock.sendall(
        (
            f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1:{visitor.server.port}\r\n"
            f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
    )
    return sock


# -- tus -----------------------------------------------------------------------------------------


def created(visitor: Visitor, size: int, **metadata: str) -> str:
    """Create a resumable upload; return its path."""
    pairs = ",".join(
        f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in metadata.items()
    )
    status, headers, _ = visitor.ask(
        "POST",
        "/api/uploads/tus",
        **{**TUS, "Upload-Length": str(size), "Upload-Metadata": pairs},
    )
    assert status == 201
    assert headers["tus-resumable"] == "1.0.0"
    assert ("upload-expires" in headers) == (size > 0)
    return headers["location"]


def patch(visitor: Visitor, path: str, offset: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    return visitor.ask("PATCH", path, data, **{**OCTETS, "Upload-Offset": str(offset)})


def test_an_upload_in_pieces_is_one_task(visitor: Visitor) -> None:
    # Given an upload that has been created: its task is there
    path = created(visitor, len(CSV), filename="numbers.csv", task="csv_import")
    task_id = path.rpartition("/")[2]
    assert visitor.snapshot(task_id)["total"] == len(CSV)

    # When its bytes come in two requests
    assert patch(visitor, path, 0, CSV[:7])[1]["upload-offset"] == "7"
    status, headers, _ = visitor.ask("HEAD", path, **TUS)
    assert (status, headers["upload-offset"], headers["upload-length"]) == (200, "7", str(len(CSV)))
    assert "no-store" in headers["cache-control"]
    assert patch(visitor, path, 7, CSV[7:])[0] == 204

    # Then the task function has run on them
    task = visitor.ended(task_id)
    assert (task["status"], task["result"]["rows"]) == ("completed", 2)
    assert visitor.nothing_left()


def test_what_arrived_of_a_cut_request_stays(visitor: Visitor) -> None:
    content = bytes(range(256)) * 4000
    path = created(visitor, len(content), filename="cut.bin")
    sock = socket.create_connection(("127.0.0.1", visitor.server.port), timeout=WAIT_S)
    sock.sendall(
        (
            f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1:{visitor.server.port}\r\n"
            "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"
            f"Upload-Offset: 0\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode()
        + content[:600_000]
    )
    task_id = path.rpartition("/")[2]
    visitor.when(task_id, lambda task: task["current"] > 400_000)
    sock.close()
    task = visitor.when(task_id, lambda task: "Waiting" in task["message"])
    assert task["status"] == "in_progress"

    offset = int(visitor.ask("HEAD", path, **TUS)[1]["upload-offset"])
    assert patch(visitor, path, offset, content[offset:])[0] == 204

    task = visitor.ended(task_id)
    assert visitor.ask("GET", task["files"][0]["url"])[2] == content


def test_an_upload_is_terminated(visitor: Visitor) -> None:
    path = created(visitor, 100, filename="gone.bin")
    patch(visitor, path, 0, b"x" * 10)

    assert visitor.ask("DELETE", path, **TUS)[0] == 204

    assert visitor.ended(path.rpartition("/")[2])["status"] == "cancelled"
    assert visitor.ask("HEAD", path, **TUS)[0] == 404
    assert visitor.nothing_left()


def test_the_protocols_own_errors(visitor: Visitor) -> None:
    path = created(visitor, 100, filename="a.bin")

    assert patch(visitor, path, 5, b"x")[0] == 409
    assert visitor.ask("PATCH", path, b"x", **{**TUS, "Upload-Offset": "0"})[0] == 415
    status, headers, _ = visitor.ask("HEAD", path, **{"Tus-Resumable": "0.2.2"})
    assert (status, headers["tus-version"]) == (412, "1.0.0")
    assert visitor.ask("HEAD", "/api/uploads/tus/none", **TUS)[0] == 404
    assert patch(visitor, path, 0, b"x" * 101)[0] == 413
    too_large = {**TUS, "Upload-Length": str(10**10)}
    assert visitor.ask("POST", "/api/uploads/tus", **too_large)[0] == 413
    status, headers, _ = visitor.ask("OPTIONS", "/api/uploads/tus")
    assert status == 204
    assert set(headers["tus-extension"].split(",")) >= {"creation", "expiration", "termination"}
    assert headers["tus-max-size"] == "3000000"
    assert visitor.ask("DELETE", path, **TUS)[0] == 204


def test_a_resumable_upload_outlives_a_killed_server(server: Callable[..., Any]) -> None:
    # Given an upload of which a part has arrived, and a server that is killed
    running = server()
    visitor = Visitor(running)
    path = created(visitor, len(CSV), filename="part.csv", task="csv_import")
    patch(visitor, path, 0, CSV[:10])
    visitor.ended(visitor.upload(CSV)[1]["task_id"])  # its end is stored after that beginning
    running.kill()

    # When it starts again, then the upload is where it was
    running.restart()
    status, headers, _ = visitor.ask("HEAD", path, **TUS)
    assert (status, headers["upload-offset"]) == (200, "10")
    assert visitor.snapshot(path.rpartition("/")[2])["status"] == "in_progress"

    # And goes on to its end
    assert patch(visitor, path, 10, CSV[10:])[0] == 204
    task = visitor.ended(path.rpartition("/")[2])
    assert (task["status"], task["result"]["rows"]) == ("completed", 2)
    assert visitor.nothing_left()


@pytest.mark.parametrize("mode", MODES)
def test_sigterm_cancels_a_resumable_upload(server: Callable[..., Any], mode: str) -> None:
    # Given an upload whose connection is open, one that waits for its rest, and one that is whole
    running = server(mode=mode)
    visitor = Visitor(running)
    waiting = created(visitor, len(CSV), filename="waiting.csv", task_id="waiting")
    patch(visitor, waiting, 0, CSV[:10])
    open_one = created(visitor, len(CSV), filename="open.csv", task_id="open")
    sock = socket.create_connection(("127.0.0.1", running.port), timeout=WAIT_S)
    head = {**OCTETS, "Host": f"127.0.0.1:{running.port}", "Upload-Offset": "0"}
    lines = [f"PATCH {open_one} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items())]
    lines += [f"Content-Length: {len(CSV)}", "", ""]
    sock.sendall("\r\n".join(lines).encode() + CSV[:5])
    visitor.when("open", lambda task: task["current"] == 5)
    whole = created(visitor, len(CSV), filename="whole.csv", task_id="whole")
    patch(visitor, whole, 0, CSV)

    # When the server is told to stop, and starts again
    assert running.stop() == 0
    sock.close()
    left = visitor.left()
    running.restart()

    # Then what was on its way is over, and nothing of it is left
    for task_id, path in (("waiting", waiting), ("open", open_one)):
        task = visitor.snapshot(task_id)
        assert (task["status"], task["error"]["code"]) == ("cancelled", "shutdown")
        assert visitor.ask("HEAD", path, **TUS)[0] == 404
    assert left == []

    # And what was whole stays
    assert visitor.snapshot("whole")["status"] == "completed"
    assert visitor.ask("GET", "/api/tasks/whole/files/whole.csv")[2] == CSV


def test_after_a_kill_a_form_has_failed_and_nothing_of_it_is_left(
    server: Callable[..., Any],
) -> None:
    # Given a form of which half has arrived, and a server that is killed
    running = server()
    visitor = Visitor(running)
    body = form(bytes(1_000_000), "half.bin", {"task_id": "half"})
    sock = begun(visitor, body)
    sock.sendall(body[:500_000])
    while visitor.ask("GET", "/api/tasks/half")[0] != 200:
        time.sleep(0.02)
    visitor.when("half", lambda task: task["current"] > 400_000)
    visitor.ended(visitor.upload(CSV)[1]["task_id"])
    running.kill()
    sock.close()

    # When it starts again
    running.restart()

    # Then its task has failed, and the half is gone
    task = visitor.ended("half")
    assert (task["status"], task["error"]["code"]) == ("failed", "worker_lost")
    assert visitor.nothing_left()


def test_who_comes_later_goes_on_and_a_connection_before_is_given_up(visitor: Visitor) -> None:
    # Given a connection that brings a part and then nothing more
    content = bytes(range(256)) * 400
    path = created(visitor, len(content), filename="frozen.bin")
    frozen = socket.create_connection(("127.0.0.1", visitor.server.port), timeout=WAIT_S)
    frozen.sendall(
        (
            f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1:{visitor.server.port}\r\n"
            "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"
            f"Upload-Offset: 0\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode()
        + content[:1000]
    )
    visitor.when(path.rpartition("/")[2], lambda task: task["current"] == 1000)

    # When another one asks and goes on
    assert visitor.ask("HEAD", path, **TUS)[1]["upload-offset"] == "1000"
    assert patch(visitor, path, 1000, content[1000:])[0] == 204

    # Then the file is whole, though the first one wakes up
    frozen.sendall(b"z" * 1000)
    task = visitor.ended(path.rpartition("/")[2])
    assert visitor.ask("GET", task["files"][0]["url"])[2] == content
    frozen.close()


def test_whose_last_answer_was_lost_hears_that_the_upload_is_whole(visitor: Visitor) -> None:
    path = created(visitor, len(CSV), filename="whole.csv")
    patch(visitor, path, 0, CSV)

    status, headers, _ = visitor.ask("HEAD", path, **TUS)

    assert (status, headers["upload-offset"]) == (200, str(len(CSV)))


def test_an_empty_file_is_whole_at_once(visitor: Visitor) -> None:
    task = visitor.ended(created(visitor, 0, filename="empty").rpartition("/")[2])

    assert [(file["name"], file["size_bytes"]) for file in task["files"]] == [("empty", 0)]


def test_a_length_may_come_later_and_a_method_in_a_header(visitor: Visitor) -> None:
    headers = {**TUS, "Upload-Defer-Length": "1"}
    path = visitor.ask("POST", "/api/uploads/tus", **headers)[1]["location"]
    assert visitor.ask("HEAD", path, **TUS)[1]["upload-defer-length"] == "1"

    more = {**OCTETS, "Upload-Offset": "0", "Upload-Length": "5"}
    status = visitor.ask("POST", path, b"hello", **more, **{"X-HTTP-Method-Override": "PATCH"})[0]

    assert status == 204
    assert visitor.ended(path.rpartition("/")[2])["result"]["bytes"] == 5


def test_the_work_on_an_upload_is_not_done_again_without_it(visitor: Visitor) -> None:
    for fields, field in (({}, "file"), ({"task": "csv_import"}, "path")):
        _, body = visitor.upload(CSV, **fields)
        assert visitor.ended(body["task_id"])["retryable"] is False

        status, _, answer = visitor.ask("POST", f"/api/tasks/{body['task_id']}/retry")

        assert (status, answer["error"]["code"]) == (422, "invalid_arguments")
        assert answer["error"]["field"] == field
        assert "again" in answer["error"]["message"]


def test_the_same_task_id_is_the_same_upload(visitor: Visitor) -> None:
    task_id = f"once-{visitor.server.port}"
    first, _ = visitor.upload(CSV, task_id=task_id)
    visitor.ended(task_id)

    again, body = visitor.upload(CSV, task_id=task_id)

    assert (first, again, body["task_id"]) == (201, 200, task_id)


def test_a_body_in_chunks_is_taken_and_bounded(visitor: Visitor) -> None:
    for size, status in ((1_000_000, 201), (3_500_000, 413)):
        body = form(bytes(size), "chunks.bin", {})
        pieces = (body[at : at + 100_000] for at in range(0, len(body), 100_000))
        connection = http.client.HTTPConnection("127.0.0.1", visitor.server.port, timeout=WAIT_S)
        connection.request(
            "POST", "/api/uploads", pieces, {"Content-Type": FORM}, encode_chunked=True
        )
        assert connection.getresponse().status == status
        connection.close()
    assert visitor.nothing_left()


def test_all_uploads_together_have_a_quota(server: Callable[..., Any]) -> None:
    visitor = Visitor(server("--upload-quota", "100"))
    assert visitor.upload(bytes(60))[0] == 201

    status, body = visitor.upload(bytes(60))

    assert (status, body["error"]["code"]) == (413, "too_large")
    assert visitor.nothing_left()


def test_a_full_disk_is_said_and_nothing_is_left(visitor: Visitor) -> None:
    # Given a server whose files can have a megabyte
    process = psutil.Process(visitor.server.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1 << 20, before[1]))

    # When a larger one comes, then each way says so
    try:
        status, body = visitor.upload(bytes(2_000_000), name="large.bin")
        path = created(visitor, 2_000_000, filename="large.bin")
        refused, _, answer = patch(visitor, path, 0, bytes(2_000_000))
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert (status, body["error"]["code"]) == (503, "unavailable")
    assert (refused, answer["error"]["code"]) == (503, "unavailable")

    # And nothing of it is left
    assert visitor.ended(path.rpartition("/")[2])["status"] == "failed"
    assert visitor.nothing_left()


def test_an_upload_that_nobody_goes_on_with_expires(server: Callable[..., Any]) -> None:
    visitor = Visitor(server("--upload-expiry", "1"))
    path = created(visitor, 100, filename="forgotten.bin")
    patch(visitor, path, 0, b"x" * 10)

    task = visitor.ended(path.rpartition("/")[2])

    assert (task["status"], task["error"]["code"]) == ("failed", "timeout")
    assert visitor.ask("HEAD", path, **TUS)[0] == 404
    assert visitor.nothing_left()
