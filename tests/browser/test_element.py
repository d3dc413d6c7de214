"""`<task-progress>` in other people's pages, and the frame where a browser sends no cookies."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from userhost import HEADER, Rules, make_host, served

from socketprogress.server.principals import Role

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "static_page"
POLICY = (
    "default-src 'none'; script-src {0}; connect-src {0} {1}; style-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE = """<!doctype html><html lang="en"><title>Theirs</title>
<meta http-equiv="Content-Security-Policy" content="{policy}">
<script src="{url}/static/js/task-progress.js"></script>
{body}"""
ELEMENT = '<task-progress task-id="{}" token="{}"><span>nothing yet</span></task-progress>'


@pytest.fixture(scope="module")
def friend(site: Any) -> Any:
    """A site of others whose pages the server allows; a host of another name is another site."""
    return site("localhost")


@pytest.fixture(scope="module")
def guarded(module_web: Any, friend: Any) -> Any:
    """A server with a token that allows them."""
    return module_web("--origin", friend.url, token="right")


def watch_token(web: Any, task_id: str, *expires: str) -> dict[str, Any]:
    """Return what a watch link's maker gets to know."""
    made = web.process.cli("token", "watch", task_id, *expires)
    assert made.returncode == 0, made.stderr
    listed = web.process.cli("token", "ls", "--json").stdout.splitlines()
    return {**json.loads(listed[-1]), "token": made.stdout.strip()}


@pytest.fixture
def publish(friend: Any, guarded: Any) -> Callable[[str], str]:
    """A function that makes a page of the friend's of a body, under a strict policy."""

    def make(body: str) -> str:
        policy = POLICY.format(guarded.url, guarded.url.replace("http", "ws"))
        friend.publish(PAGE.format(policy=policy, url=guarded.url, body=body))
        return str(friend.url)

    return make


def sockets_of(page: Any) -> list[Any]:
    """Return the WebSockets that a page opens from now on."""
    opened: list[Any] = []

    def note(socket: Any) -> None:
        opened.append(socket)

    page.on("websocket", note)
    return opened


def noted(page: Any, types: str = "progress end") -> Any:
    """Have a page's elements keep the events they fire; return what reads them."""
    page.evaluate(
        """(types) => {
          globalThis.fired = [];
          for (const type of types.split(" "))
            document.addEventListener(type, ({ detail }) => fired.push([type, detail.status]));
        }""",
        types,
    )
    return lambda: page.evaluate("fired")


def test_the_element_is_live_to_the_end_in_a_page_of_another_origin(
    visitor: Any, guarded: Any, publish: Any
) -> None:
    # Given a task, a watch token for it, and a page with a strict policy
    puppet = guarded.puppet("Nightly")
    puppet.does(total=4, current=1, message="first of four")
    puppet.reaches(1)
    token = watch_token(guarded, puppet.id)["token"]

    page = visitor.open(publish(ELEMENT.format(puppet.id, token)))
    events = noted(page)
    bar = page.get_by_role("progressbar", name="Nightly")
    element = page.locator("task-progress")

    # Then it shows the task, and goes along
    expect(bar).to_have_attribute("aria-valuenow", "25")
    expect(bar).to_have_attribute("aria-valuetext", re.compile("25%"))
    expect(element.get_by_text("1 of 4")).to_be_visible()
    expect(element.get_by_text("first of four")).to_be_visible()
    expect(page.get_by_text("nothing yet")).to_be_hidden()
    expect(element).to_have_attribute("connection", "live")
    puppet.does(current=3)
    expect(bar).to_have_attribute("aria-valuenow", "75")
    fill = element.locator(".fill").bounding_box()
    assert fill is not None
    assert 0.7 < fill["width"] / bar.bounding_box()["width"] < 0.8

    # And to the end
    puppet.ends()
    expect(element).to_have_attribute("status", "completed")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    expect(element.get_by_role("status").filter(has_text="Nightly: completed")).to_have_count(1)
    fired = events()
    assert fired[-2:] == [["progress", "completed"], ["end", "completed"]]
    assert [kind for kind, _ in fired].count("end") == 1


def test_the_example_page_runs_as_it_stands(
    visitor: Any, guarded: Any, site: Any, module_web: Any, tmp_path: Path
) -> None:
    # Given the example's folder on a site of its own, and its server's address in it
    theirs = site("localhost")
    web = module_web("--origin", theirs.url, token="right")
    for path in EXAMPLE.iterdir():
        shutil.copy(path, theirs._folder)
    page_path = theirs._folder / "index.html"
    page_path.write_text(page_path.read_text().replace("http://127.0.0.1:8765", web.url))
    puppet = web.puppet("Backup")
    puppet.does(total=2, current=1)
    token = watch_token(web, puppet.id)["token"]

    page = visitor.open(f"{theirs.url}/#task={puppet.id}&token={token}")

    expect(page.get_by_role("progressbar", name="Backup")).to_have_attribute("aria-valuenow", "50")
    puppet.ends()
    expect(page.get_by_text("It is over: completed.")).to_be_visible()


def test_a_wrong_token_is_refused_and_an_expired_one_is_called_expired(
    visitor: Any, guarded: Any, publish: Any
) -> None:
    puppet = guarded.puppet("Hidden")
    expired = watch_token(guarded, puppet.id, "--expires", "1s")["token"]
    other = watch_token(guarded, "another-task")["token"]
    body = "".join(ELEMENT.format(puppet.id, token) for token in ("wrong", "", other, expired))

    page = visitor.context().new_page()
    page.goto(publish(body))
    wrong, none, foreign, late = (page.locator("task-progress").nth(n) for n in range(4))

    expect(wrong).to_have_attribute("connection", "refused")
    expect(wrong).to_contain_text("Disconnected: this server needs its token")
    expect(none).to_have_attribute("connection", "refused")
    expect(foreign).to_have_attribute("connection", "unknown")
    expect(foreign).to_contain_text("There is no such task")
    expect(late).to_have_attribute("connection", "refused")
    expect(late).to_contain_text("this token has expired")
    for element in (wrong, none, foreign):
        expect(element.get_by_text("nothing yet")).to_be_visible()
        expect(element.get_by_role("progressbar")).to_be_hidden()
        expect(element).not_to_contain_text("Hidden")


def test_a_token_that_is_revoked_or_expires_under_way_ends_the_show_with_its_reason(
    visitor: Any, guarded: Any, publish: Any
) -> None:
    puppet = guarded.puppet("Shown")
    puppet.does(total=4, current=1)
    puppet.reaches(1)
    revoked = watch_token(guarded, puppet.id)
    expiring = watch_token(guarded, puppet.id, "--expires", "15s")
    body = ELEMENT.format(puppet.id, revoked["token"]) + ELEMENT.format(
        puppet.id, expiring["token"]
    )
    page = visitor.open(publish(body))
    first, second = page.locator("task-progress").first, page.locator("task-progress").last
    expect(first).to_have_attribute("connection", "live")
    expect(second).to_have_attribute("connection", "live")

    assert guarded.process.cli("token", "revoke", revoked["id"]).returncode == 0

    expect(first).to_have_attribute("connection", "refused")
    expect(second).to_contain_text("this token has expired")
    expect(second).to_have_attribute("connection", "refused")
    puppet.does(current=3)
    puppet.reaches(3)
    for element in (first, second):
        expect(element.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")


def test_many_elements_share_one_connection_and_leave_it_when_they_go(
    visitor: Any, guarded: Any, publish: Any
) -> None:
    # Given a page with two elements of one token, and one of another
    puppet = guarded.puppet("Shared")
    puppet.does(total=4, current=1)
    token, another = (watch_token(guarded, puppet.id)["token"] for _ in range(2))
    context = visitor.context()
    page = context.new_page()
    opened = sockets_of(page)
    page.goto(publish("".join(ELEMENT.format(puppet.id, each) for each in (token, token, another))))
    elements = page.locator("task-progress")
    for number in range(3):
        bar = elements.nth(number).get_by_role("progressbar")
        expect(bar).to_have_attribute("aria-valuenow", "25")

    # Then there are two connections
    assert len(opened) == 2

    # And when all of one token have gone, so has their connection
    page.evaluate(
        "[...document.querySelectorAll('task-progress')].slice(0, 2).forEach((e) => e.remove())"
    )
    page.wait_for_function("() => document.querySelectorAll('task-progress').length === 1")
    expect_closed(opened, 1)
    puppet.does(current=2)
    expect(elements.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")


def expect_closed(opened: list[Any], number: int) -> None:
    """Wait until so many connections are closed."""
    for one in opened:
        if sum(socket.is_closed() for socket in opened) >= number:
            return
        if not one.is_closed():
            one.wait_for_event("close", timeout=20_000)


def test_an_element_that_is_moved_keeps_its_connection_and_one_that_is_changed_follows(
    visitor: Any, guarded: Any, publish: Any
) -> None:
    one, two = guarded.puppet("One"), guarded.puppet("Two")
    one.does(total=4, current=1)
    two.does(total=4, current=2)
    page = visitor.context().new_page()
    opened = sockets_of(page)
    page.goto(publish(f'<div id="there"></div>{ELEMENT.format(one.id, "right")}'))
    element = page.locator("task-progress")
    expect(element.get_by_role("progressbar", name="One")).to_have_attribute("aria-valuenow", "25")

    page.evaluate("there.append(document.querySelector('task-progress'))")
    one.does(current=3)
    expect(element.get_by_role("progressbar", name="One")).to_have_attribute("aria-valuenow", "75")

    element.evaluate(f"(e) => e.setAttribute('task-id', '{two.id}')")
    expect(element.get_by_role("progressbar", name="Two")).to_have_attribute("aria-valuenow", "50")
    assert len(opened) == 1
    element.evaluate("(e) => e.setAttribute('token', 'wrong')")
    expect(element).to_have_attribute("connection", "refused")
    element.evaluate("(e) => e.setAttribute('src', 'javascript:1')")
    expect(element).to_contain_text("is not the address of a server")


def test_a_page_of_an_origin_that_is_not_allowed_shows_its_own_words(
    visitor: Any, guarded: Any, site: Any
) -> None:
    visitor.expect("CORS", "ERR_FAILED", "task-progress", "Failed to load resource")
    stranger = site("localhost")
    puppet = guarded.puppet("Private")
    stranger.publish(
        f'<script src="{guarded.url}/static/js/task-progress.js"></script>'
        + ELEMENT.format(puppet.id, "right")
    )

    page = visitor.context().new_page()
    with page.expect_console_message(lambda said: "--origin" in said.text):
        page.goto(stranger.url)

    expect(page.get_by_text("nothing yet")).to_be_visible()


def test_the_element_waits_for_a_server_that_is_away(
    visitor: Any, fresh_web: Any, site: Any
) -> None:
    visitor.expect("WebSocket", "ERR_CONNECTION_REFUSED", "Failed to load resource")
    theirs = site("localhost")
    web = fresh_web("--origin", theirs.url)
    web.put("/api/tasks/loop", {"title": "Loop", "current": 1, "total": 4})
    theirs.publish(
        f'<script src="{web.url}/static/js/task-progress.js"></script>' + ELEMENT.format("loop", "")
    )
    page = visitor.open(theirs.url)
    element = page.locator("task-progress")
    bar = element.get_by_role("progressbar", name="Loop")
    expect(bar).to_have_attribute("aria-valuenow", "25")

    web.process.stop()
    expect(element).to_have_attribute("connection", "reconnecting")
    expect(element).to_contain_text("Reconnecting")
    expect(bar).to_have_attribute("aria-valuenow", "25")
    web.process.start()

    web.put("/api/tasks/loop", {"current": 2})
    expect(element).to_have_attribute("connection", "live")
    expect(bar).to_have_attribute("aria-valuenow", "50")


def test_a_task_that_is_opened_later_appears(visitor: Any, guarded: Any, publish: Any) -> None:
    page = visitor.open(publish(ELEMENT.format("to-come", "right")))
    element = page.locator("task-progress")
    expect(element).to_have_attribute("connection", "unknown")

    guarded.put("/api/tasks/to-come", {"title": "Here", "current": 1, "total": 2})

    expect(element.get_by_role("progressbar", name="Here")).to_have_attribute("aria-valuenow", "50")
    expect(element).to_have_attribute("connection", "live")


def test_the_element_finds_a_server_inside_of_another_application(
    visitor: Any, site: Any, tmp_path: Path
) -> None:
    # Given an application with users that serves it under a prefix and a namespace of its own
    theirs = site("localhost")
    app, progress = make_host(tmp_path, Rules(), origins=(theirs.url,))
    try:
        with served(app) as url:
            client = app.test_client()
            client.put("/progress/api/tasks/inner", json={"total": 4}, headers={HEADER: "ann"})
            token, _ = progress.engine.access.tokens.new(Role.VIEWER, task_id="inner")
            theirs.publish(
                f'<script src="{url}/progress/static/js/task-progress.js"></script>'
                + ELEMENT.format("inner", token)
            )

            # When its task is shown elsewhere by a watch token
            page = visitor.open(theirs.url)
            bar = page.locator("task-progress").get_by_role("progressbar")
            expect(bar).to_have_attribute("aria-valuenow", "0")
            client.put("/progress/api/tasks/inner", json={"current": 3}, headers={HEADER: "ann"})

            # Then it is live
            expect(bar).to_have_attribute("aria-valuenow", "75")
            visitor.close()
    finally:
        progress.engine.close()


# -- the frame -------------------------------------------------------------------------------------


@pytest.fixture
def framed(friend: Any, guarded: Any) -> Callable[[str], str]:
    """A function that frames an address of the server in a page of another site."""

    def make(path: str) -> str:
        friend.publish(
            "<!doctype html><title>Theirs</title>"
            f'<iframe title="bar" src="{guarded.url}{path}"></iframe>'
        )
        return str(friend.url)

    return make


@pytest.mark.parametrize("where", ["#token={}", "?token={}"])
def test_a_frame_shows_its_task_with_a_token_in_its_address_and_no_cookie(
    visitor: Any, guarded: Any, framed: Any, where: str
) -> None:
    if where.startswith("#"):
        visitor.expect("401")
    puppet = guarded.puppet("Framed")
    puppet.does(total=4, current=1)
    puppet.reaches(1)
    token = watch_token(guarded, puppet.id)["token"]
    context = visitor.context()
    page = context.new_page()

    page.goto(framed(f"/embed/{puppet.id}{where.format(token)}"))

    bar = page.frame_locator("iframe").get_by_role("progressbar", name="Framed")
    expect(bar).to_have_attribute("aria-valuenow", "25")
    puppet.does(current=3)
    expect(bar).to_have_attribute("aria-valuenow", "75")
    assert not [c for c in context.cookies() if re.fullmatch(r"socketprogress_\d+", c["name"])]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "needs a token"),
        ("?token=wrong", "the token in the address is not right"),
        ("#token=wrong", "this server needs its token"),
    ],
)
def test_a_frame_without_the_right_token_says_so(
    visitor: Any, guarded: Any, framed: Any, where: str, words: str
) -> None:
    visitor.expect("401")
    puppet = guarded.puppet("Hidden")

    page = visitor.open(framed(f"/embed/{puppet.id}{where}"))

    frame = page.frame_locator("iframe")
    expect(frame.get_by_text(words)).to_be_visible()
    expect(frame.get_by_text("Hidden")).to_have_count(0)


def test_a_frame_works_without_javascript_too(visitor: Any, guarded: Any, framed: Any) -> None:
    puppet = guarded.puppet("Plain")
    puppet.does(total=4, current=1)
    puppet.reaches(1)
    token = watch_token(guarded, puppet.id)["token"]

    page = visitor.open(framed(f"/embed/{puppet.id}?token={token}"), java_script_enabled=False)

    bar = page.frame_locator("iframe").get_by_role("progressbar", name="Plain")
    expect(bar).to_have_attribute("aria-valuenow", "25")


def test_a_page_says_that_its_token_has_expired_under_way(visitor: Any, guarded: Any) -> None:
    puppet = guarded.puppet("Page")
    token = watch_token(guarded, puppet.id, "--expires", "15s")["token"]
    page = visitor.open(f"{guarded.url}/tasks/{puppet.id}?token={token}")
    expect(page.get_by_role("heading", name="Page")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert "token" not in page.url

    expect(page.locator("#offline")).to_contain_text("this token has expired")


def test_who_has_a_watch_link_sees_a_list_of_one_and_can_leave(visitor: Any, guarded: Any) -> None:
    puppet, other = guarded.puppet("Linked"), guarded.puppet("Unlinked")
    token = watch_token(guarded, puppet.id)["token"]
    page = visitor.open(f"{guarded.url}/?token={token}")

    expect(page.get_by_role("progressbar", name="Linked", exact=True)).to_be_visible()
    other.does(total=2, current=1)
    puppet.does(total=2, current=1)
    expect(page.get_by_role("progressbar", name="Linked", exact=True)).to_have_attribute(
        "aria-valuenow", "50"
    )
    expect(page.get_by_text("Unlinked")).to_have_count(0)
    expect(page.get_by_role("button", name="Start", exact=True)).to_have_count(0)

    visitor.expect("401")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
