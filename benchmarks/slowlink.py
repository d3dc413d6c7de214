"""A slow link: a TCP proxy of so many bits a second and so much delay each way, with a large buffer.

It takes whatever it is given at once, as a proxy or a router with a large buffer does, and hands it on
byte by byte at the link's pace: nobody at the sending end can tell from the socket that it is slow.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
from collections import deque
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PIECE_BYTES = 256


class SlowLink:
    """A proxy before a server, in a thread of its own, until it is closed.

    Args:
        url: the server's base URL.
        bits_per_s: what it carries, each way, for all connections together.
        delay_s: how long each byte takes, each way.
        port: where it listens; 0 takes a free one.

    Attributes:
        url: the proxy's own base URL.
        most_waiting: the most bytes for the client that have waited in the proxy at once.
    """

    def __init__(
        self, url: str, *, bits_per_s: float = 50_000, delay_s: float = 0.4, port: int = 0
    ) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._bytes_per_s, self._delay_s = bits_per_s / 8, delay_s
        self._free_at = {True: 0.0, False: 0.0}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", port), self._loop
        )
        self._listener = listening.result()
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        self.most_waiting = 0

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(*self._server)
        try:
            await asyncio.gather(
                self._carry(reader, to_there, count=False), self._carry(there, writer, count=True)
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, to_there):
                end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool
    ) -> None:
        """Carry what comes from one end to the other, at the link's pace."""
        link: deque[tuple[float, bytes]] = deque()
        news = asyncio.Event()
        over = False

        async def take() -> None:
            nonlocal over
            while data := await reader.read(65_536):
                for at in range(0, len(data), PIECE_BYTES):
                    piece = data[at : at + PIECE_BYTES]
                    begins = max(self._free_at[count], self._loop.time())
                    self._free_at[count] = begins + len(piece) / self._bytes_per_s
                    link.append((self._free_at[count] + self._delay_s, piece))
                if count:
                    waiting = sum(len(piece) for _, piece in link)
                    self.most_waiting = max(self.most_waiting, waiting)
                news.set()
            over = True
            news.set()

        async def give() -> None:
            while link or not over:
                if not link:
                    news.clear()
                    await news.wait()
                    continue
                at, piece = link[0]
                await asyncio.sleep(max(at - self._loop.time(), 0))
                link.popleft()
                writer.write(piece)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()

        await asyncio.gather(take(), give())

    def throttle(self, *, bits_per_s: float, delay_s: float) -> None:
        """Be another link from now on."""
        self._bytes_per_s, self._delay_s = bits_per_s / 8, delay_s

    def close(self) -> None:
        """Break all connections and end."""

        async def end() -> None:
            self._listener.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts a slow link before a server.")
    parser.add_argument("url")
    parser.add_argument("--bits-per-s", type=float, default=50_000)
    parser.add_argument("--delay-s", type=float, default=0.4)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    with SlowLink(
        given.url, bits_per_s=given.bits_per_s, delay_s=given.delay_s, port=given.port
    ) as link:
        print(link.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
