"""The tokens that were given out beside the server's own: a file in the data folder.

The command line and the server write it both, whether the server runs or not. It holds no token,
only what one can be recognised by.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from socketprogress.core.errors import ConfigurationError, InvalidPayload
from socketprogress.server.principals import Role

__all__ = ["FILE", "PREFIX", "Token", "Tokens", "cookie_digest"]

log = logging.getLogger(__name__)

FILE = "tokens.json"
LOCK_FILE = "tokens.lock"
PREFIX = "spt_"
SECRET_BYTES = 32
TAIL = 4
MOST = 10_000
REMEMBERED_S = 30 * 86_400.0

Mark = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that was given out.

    Attributes:
        id: what it is revoked by.
        role: what it allows.
        name: what people call it.
        task_id: the one task that it is for; None for all.
        created_at, expires_at: Unix seconds; None for never.
        tail: its last characters, to tell it from others.
        digest: what it is recognised by.
    """

    id: str
    role: Role
    name: str = ""
    task_id: str | None = None
    created_at: float
    expires_at: float | None = None
    tail: str
    digest: str = field(repr=False)

    def expired(self, at: float) -> bool:
        """Return whether it is worth nothing any more."""
        return self.expires_at is not None and self.expires_at <= at


class Tokens:
    """The tokens of one data folder.

    Args:
        folder: the data folder.
        wall: returns Unix seconds.

    Attributes:
        folder: the data folder.
    """

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self.folder, self._wall = folder, wall
        self._mark: Mark = None
        self._by_digest: dict[str, Token] = {}
        self._by_id: dict[str, Token] = {}

    def all(self) -> list[Token]:
        """Return every token, oldest first, those included that expired a short time ago.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        return self._load()

    def find(self, cookie: str) -> Token | None:
        """Return the token whose cookie this is, as the file has it now, or None."""
        self._refresh()
        return self._by_digest.get(_digest(cookie))

    def valid(self, token_id: str) -> bool:
        """Return whether a token is neither revoked nor expired."""
        self._refresh()
        token = self._by_id.get(token_id)
        return token is not None and not token.expired(self._wall())

    def new(
        self,
        role: Role,
        *,
        name: str = "",
        task_id: str | None = None,
        lasts_s: float | None = None,
    ) -> tuple[str, Token]:
        """Make a token and return it, which nobody can do a second time, and what is known of it.

        Raises:
            InvalidPayload: there are too many.
            ConfigurationError: the file cannot be read or written.
        """
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        now = self._wall()
        token = Token(
            id=secrets.token_hex(4),
            role=role,
            name=name,
            task_id=task_id,
            created_at=now,
            expires_at=None if lasts_s is None else now + lasts_s,
            tail=secret[-TAIL:],
            digest=_digest(cookie_digest(secret)),
        )
        with self._changing() as known:
            if len(known) >= MOST:
                raise InvalidPayload(f"there are {len(known)} tokens already: revoke some")
            known.append(token)
        return secret, token

    def revoke(self, token_id: str) -> bool:
        """Make a token worthless; return False if there is none of this id.

        Raises:
            ConfigurationError: the file cannot be read or written.
        """
        with self._changing() as known:
            found = [token for token in known if token.id == token_id]
            for token in found:
                known.remove(token)
        return bool(found)

    # -- the file --------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read the file again if it is another one than at the last time."""
        mark = self._stat()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            known = self._load()
        except ConfigurationError as exc:
            log.error("no token but the server's own is accepted: %s", exc)  # noqa: TRY400
            known = []
        self._by_digest = {token.digest: token for token in known}
        self._by_id = {token.id: token for token in known}

    def _stat(self) -> Mark:
        try:
            stat = (self.folder / FILE).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _load(self) -> list[Token]:
        path = self.folder / FILE
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))["tokens"]
            return [Token(**{**entry, "role": Role[entry["role"].upper()]}) for entry in entries]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as exc:
            raise ConfigurationError(f"{str(path)!r} cannot be read: {exc}") from exc

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """Lend the tokens to be changed, while nobody else changes them."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as exc:
            raise self._unwritable(exc) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            long_ago = self._wall() - REMEMBERED_S
            known = [token for token in self._load() if not token.expired(long_ago)]
            yield known
            self._save(known)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        finally:
            os.close(descriptor)

    def _save(self, tokens: Iterable[Token]) -> None:
        entries = [{**asdict(token), "role": token.role.name.lower()} for token in tokens]
        text = json.dumps({"version": 1, "tokens": entries}, indent=1)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=f".{FILE}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.folder / FILE)
        except OSError:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def _unwritable(self, exc: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"no tokens can be kept in {str(self.folder)!r}: {exc.strerror}; choose another "
            "folder with --data"
        )


def cookie_digest(token: str) -> str:
    """Return what a cookie holds in a token's stead: nobody gets the token back from it."""
    key = token.encode("utf-8", "surrogatepass")
    return hmac.new(key, b"socketprogress cookie", hashlib.sha256).hexdigest()


def _digest(cookie: Any) -> str:
    return hashlib.sha256(str(cookie).encode("utf-8", "surrogatepass")).hexdigest()
