"""A browser's tabs as they are: hidden behind others, frozen. Playwright keeps all of its pages visible."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import websocket

from tests.conftest import CHROMIUM_ARGS

WAIT_S = 30.0
LOOK_S = 0.05
RECORD_NOTES = """
window.notes = [];
window.Notification = new Proxy(Notification, {
  construct(real, given) {
    window.notes.push([given[0], given[1].body]);
    return Reflect.construct(real, given);
  },
});"""


class Chromium:
    """A headless Chromium of its own.

    Args:
        path: its program.
        folder: its profile.
    """

    def __init__(self, path: str, folder: Path) -> None:
        self._tabs: list[Tab] = []
        command = [path, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            [*command, *CHROMIUM_ARGS, "about:blank"], stderr=subprocess.DEVNULL
        )
        told = folder / "DevToolsActivePort"
        until = time.monotonic() + WAIT_S
        while not (told.exists() and len(told.read_text().split()) == 2):
            assert time.monotonic() < until, "Chromium does not start"
            time.sleep(LOOK_S)
        port, address = told.read_text().split()
        self._root = f"ws://127.0.0.1:{port}"
        self._wire = Wire(self._root + address)

    def grant(self, origin: str) -> None:
        """Let the pages of an origin show notifications."""
        self._wire.call("Browser.grantPermissions", origin=origin, permissions=["notifications"])

    def open(self, url: str) -> Tab:
        """Open an address in a new tab, before all others."""
        target = self._wire.call("Target.createTarget", url="about:blank")["targetId"]
        tab = Tab(Wire(f"{self._root}/devtools/page/{target}"))
        self._tabs.append(tab)
        tab.call("Page.enable")
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=RECORD_NOTES)
        tab.call("Page.navigate", url=url)
        return tab

    def close(self) -> None:
        """End it."""
        for tab in self._tabs:
            tab.wire.close()
        self._wire.close()
        self._process.terminate()
        self._process.wait(timeout=WAIT_S)


class Wire:
    """One connection of the DevTools protocol.

    Args:
        url: where it is.
    """

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=WAIT_S, suppress_origin=True)
        self._ids = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something and return the answer."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer}"
                return dict(answer["result"])

    def close(self) -> None:
        """Leave."""
        self._socket.close()


class Tab:
    """One tab.

    Args:
        wire: its connection.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.call = wire.call

    def tells(self, expression: str) -> Any:
        """Return the value of an expression in its page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def comes_to(self, expression: str) -> None:
        """Wait until an expression is true in its page."""
        until = time.monotonic() + WAIT_S
        while not self.tells(expression):
            if time.monotonic() > until:
                text = self.tells("document.body.innerText")
                raise AssertionError(f"the page never comes to {expression}:\n{text}")
            time.sleep(LOOK_S)

    def show(self) -> None:
        """Bring it before the others."""
        self.call("Page.bringToFront")
        self.comes_to("!document.hidden")

    def freeze(self) -> None:
        """Have the browser hide the page and stop all that it does."""
        self.call("Page.setWebLifecycleState", state="frozen")

    def wake(self) -> None:
        """Have it go on."""
        self.call("Page.setWebLifecycleState", state="active")
