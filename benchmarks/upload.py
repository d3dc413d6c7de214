"""What a large upload costs the server: the rise of its resident memory, and seconds, in each mode.

    python benchmarks/upload.py [--size-mb 1000] [--modes eventlet threading gevent]

The file is sent as a form and by tus, in one request each, by this process over loopback. While it
arrives, another client asks for /healthz; its slowest answer tells whether the server still answers.
The memory is the highest of the server's process alone, looked at every 20 ms, above what it was
after a first small upload.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

PIECE = os.urandom(1 << 20)
LOOK_S = 0.02
TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class Cost:
    """What one upload cost."""

    rise_mib: float
    seconds: float
    slowest_ms: float


class Observer:
    """Looks at a server while something happens.

    Args:
        process: the server's.
        address: host and port.
    """

    def __init__(self, process: psutil.Process, address: str) -> None:
        self._process, self._address = process, address
        self._over = threading.Event()
        self.most = self.slowest_ms = 0.0

    def watch(self, act: Callable[[], None]) -> Cost:
        """Return what this costs the server."""
        before = self._process.memory_info().rss
        looks = [threading.Thread(target=self._look), threading.Thread(target=self._ask)]
        for look in looks:
            look.start()
        began = time.perf_counter()
        act()
        seconds = time.perf_counter() - began
        self._over.set()
        for look in looks:
            look.join()
        return Cost((self.most - before) / 2**20, seconds, self.slowest_ms)

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self.most = max(self.most, self._process.memory_info().rss)

    def _ask(self) -> None:
        while not self._over.wait(LOOK_S):
            began = time.perf_counter()
            connection = http.client.HTTPConnection(self._address, timeout=60)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            connection.close()
            self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - began) * 1000)


def pieces(size: int) -> Iterator[bytes]:
    """Yield so many bytes."""
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


def send(address: str, method: str, path: str, body: Iterator[bytes], **headers: str) -> None:
    """Send a request with a large body, and see that it is taken."""
    connection = http.client.HTTPConnection(address, timeout=600)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    text = response.read()
    assert response.status in {201, 204}, (response.status, text)
    connection.close()


def by_form(address: str, size: int) -> None:
    """Upload as a form."""
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
    tail = b"\r\n--edge--\r\n"

    def body() -> Iterator[bytes]:
        yield head
        yield from pieces(size)
        yield tail

    length = len(head) + size + len(tail)
    kind = "multipart/form-data; boundary=edge"
    send(address, "POST", "/api/uploads", body(), Content_Type=kind, Content_Length=str(length))


def by_tus(address: str, size: int) -> None:
    """Upload by tus."""
    connection = http.client.HTTPConnection(address, timeout=60)
    name = base64.b64encode(b"large").decode()
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
    connection.request("POST", "/api/uploads/tus", None, headers)
    response = connection.getresponse()
    response.read()
    place = response.headers["Location"]
    connection.close()
    more = {**TUS, "Upload-Offset": "0", "Content-Length": str(size)}
    send(
        address,
        "PATCH",
        place,
        pieces(size),
        Content_Type="application/offset+octet-stream",
        **more,
    )


def measure(mode: str, way: Callable[[str, int], None], size: int) -> Cost:
    """Return what an upload of so many bytes costs a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "XDG_RUNTIME_DIR": folder, "XDG_DATA_HOME": folder}
        command = [sys.executable, "-m", "socketprogress", "serve", "--port", "0"]
        command += ["--root", folder, "--data", f"{folder}/data", "--async-mode", mode]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
        ) as server:
            assert server.stdout is not None
            address = urlsplit(server.stdout.readline().split()[-1]).netloc
            way(address, 1 << 20)
            try:
                observer = Observer(psutil.Process(server.pid), address)
                return observer.watch(lambda: way(address, size))
            finally:
                server.terminate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size-mb", type=int, default=1000)
    parser.add_argument("--modes", nargs="+", default=["eventlet", "threading", "gevent"])
    args = parser.parse_args()
    size = args.size_mb * 1_000_000
    print(f"{args.size_mb} MB   {'rise':>10} {'seconds':>9} {'MB/s':>7} {'slowest answer':>16}")
    for mode in args.modes:
        for name, way in (("form", by_form), ("tus", by_tus)):
            cost = measure(mode, way, size)
            print(
                f"{mode:10} {name:5} {cost.rise_mib:6.1f} MiB {cost.seconds:7.1f} s "
                f"{args.size_mb / cost.seconds:7.0f} {cost.slowest_ms:13.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
