"""What goes out in gzip, to whom, and what must not be told by its length."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

Make = Callable[..., Any]
GZIP = {"Accept-Encoding": "gzip, deflate, br"}
JSON = {"Content-Type": "application/json"}
STYLES = "/static/css/socketprogress.css"


def test_every_async_mode_sends_pages_json_and_files_in_gzip(
    server: Callable[..., Any], any_mode: str
) -> None:
    # Given a server with tasks of which there is much to say, and one connection to it
    running = server(mode=any_mode)
    address = urlsplit(running.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)

    def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, bytes]:
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        return answer, answer.read()

    for task_id in ("first", "second", "long"):
        long = {"name": "long", "title": "A long one " * 40, "result": list(range(1000))}
        ask("PUT", f"/api/tasks/{task_id}", {**long, "status": "completed"}, **JSON)

    for path in ("/", "/tasks/long", "/api/tasks", "/api/tasks/long", STYLES):
        # When it is asked for with and without gzip, over and over on this connection
        plain, text = ask("GET", path)
        packed, body = ask("GET", path, **GZIP)
        head, nothing = ask("HEAD", path, **GZIP)

        # Then the gzip is much smaller, whole, and told from the plain text by caches
        assert plain.headers["Content-Encoding"] is None
        assert int(plain.headers["Content-Length"]) == len(text)
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) == len(body) < len(text) * 0.6
        assert head.headers["Content-Encoding"] == "gzip"
        assert (head.status, nothing) == (200, b"")
        for answer in (plain, packed, head):
            assert "Accept-Encoding" in answer.headers["Vary"]
        if path in (STYLES, "/api/tasks/long"):
            assert gzip.decompress(body) == text
    connection.close()


@pytest.mark.parametrize(
    ("wish", "is_packed"),
    [
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("*", True),
        ("br, gzip;q=0.8, identity;q=0.5", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=nonsense", False),
    ],
)
def test_gzip_is_for_those_who_ask_for_it(calm: Any, wish: str, is_packed: bool) -> None:
    for path in (STYLES, "/"):
        headers = calm.get(path, headers={"Accept-Encoding": wish}).headers
        assert (headers.get("Content-Encoding") == "gzip") is is_packed


def test_a_file_has_one_tag_for_each_of_its_forms(calm: Any) -> None:
    plain, packed = calm.get(STYLES), calm.get(STYLES, headers=GZIP)
    tags = plain.headers["ETag"], packed.headers["ETag"]
    assert tags[0] != tags[1]

    for tag, theirs, headers in ((tags[0], tags[1], {}), (tags[1], tags[0], GZIP)):
        same = calm.get(STYLES, headers={**headers, "If-None-Match": tag})
        assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
        assert "Accept-Encoding" in same.headers["Vary"]
        assert calm.get(STYLES, headers={**headers, "If-None-Match": theirs}).status_code == 200


def test_parts_and_small_answers_are_never_compressed(calm: Any) -> None:
    for path, headers in (
        (STYLES, {"Range": "bytes=0-99"}),
        ("/", {"Range": "bytes=0-99"}),
        ("/static/favicon.svg", {}),
        ("/healthz", {}),
        ("/api/tasks/nobody", {}),
    ):
        answer = calm.get(path, headers={**GZIP, **headers})
        assert "Content-Encoding" not in answer.headers, path
        assert int(answer.headers["Content-Length"]) == len(answer.data)


def test_a_snapshot_in_gzip_has_a_weak_tag_that_is_as_good(web: Make) -> None:
    server = web()
    ended = {"name": "long", "status": "completed", "result": list(range(1000))}
    server.client.put("/api/tasks/long", json=ended)
    path = "/api/tasks/long"
    plain, packed = server.get(path), server.get(path, headers=GZIP)

    assert packed.headers["ETag"] == f"W/{plain.headers['ETag']}"
    for tag in (plain.headers["ETag"], packed.headers["ETag"]):
        same = server.get(path, headers={**GZIP, "If-None-Match": tag})
        assert (same.status_code, same.headers["ETag"]) == (304, tag)


def test_what_is_large_is_compressed_whole(web: Make) -> None:
    server = web()
    for number in range(300):
        server.client.put(f"/api/tasks/part-{number}", json={"name": "part", "title": "T" * 500})

    answer = server.get("/api/tasks?limit=1000", headers=GZIP)

    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.data))["tasks"]) == 300


def test_the_proof_in_a_form_looks_otherwise_in_every_answer_and_holds_each_time(web: Make) -> None:
    server = web()
    found = []
    for _ in range(3):
        html = zlib.decompress(server.get("/", headers=GZIP).data, wbits=31).decode()
        on_page = set(re.findall(r'name="csrf_token" value="([^"]+)"', html))
        assert len(on_page) == 1, "one a page, or it could not be compressed"
        found += on_page

    # No piece of one is in another, as long as it takes for compression to see it
    pieces = [{token[at : at + 6] for at in range(len(token) - 5)} for token in found]
    assert not pieces[0] & pieces[1] | pieces[1] & pieces[2] | pieces[0] & pieces[2]

    for token in found:
        assert server.post("/start/add", data={"csrf_token": token}).status_code == 303
    for forged in (found[0][:-4] + "AAAA", "A" * 200, "ä", "=", ""):
        assert server.post("/start/add", data={"csrf_token": forged}).status_code == 403


def test_the_length_of_a_page_is_blurred(calm: Any) -> None:
    lengths = {len(calm.get("/tasks/nobody", headers=GZIP).data) for _ in range(20)}

    assert len(lengths) > 1
