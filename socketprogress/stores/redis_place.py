"""Where a Redis store is: its URL, its keys, and connections that never wait for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from socketprogress.core.errors import ConfigurationError, StoreError

__all__ = [
    "SCHEMES",
    "Place",
    "check",
    "connect",
    "parse_redis_url",
    "reason",
    "redis_errors",
    "run_id",
]

SCHEMES = ("redis", "rediss")
PREFIX = "socketprogress"
LEASE_S = 15.0
SHORTEST_LEASE_S = 1.0
TIMEOUT_S = 1.5
OLDEST_SERVER = (6, 2)
BROKEN_CLIENT = "8.0.0"


@dataclass(frozen=True, slots=True)
class Place:
    """A database and the beginning of the keys in it.

    Attributes:
        url: for the client.
        prefix: what all keys begin with.
        shown: the URL without its password.
        lease_s: seconds of silence after which a process that shares the store is taken for dead.
    """

    url: str = field(repr=False)
    prefix: str
    shown: str
    lease_s: float

    @property
    def name(self) -> str:
        """A URL without the password that tells this store from all others."""
        prefix = self.prefix.rstrip(":")
        return self.shown if prefix == PREFIX else f"{self.shown}?prefix={prefix}"

    def key(self, *parts: str) -> str:
        """Return a key of this store."""
        return self.prefix + ":".join(parts)


def parse_redis_url(url: str) -> Place:
    """Return what ``redis://user:password@host:port/db?prefix=…`` names; `rediss` is with TLS.

    ``lease_s`` may stand in the query too; it has to be the same for all that share the store.

    Raises:
        ConfigurationError: it is no such URL; the message does not repeat what may be secret.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    database = parts.path.strip("/")
    query = dict(parse_qsl(parts.query))
    prefix = query.pop("prefix", PREFIX).rstrip(":") + ":"
    lease_s = _seconds(query.pop("lease_s", str(LEASE_S)))
    odd = (database and not database.isdecimal()) or port == 0 or not lease_s >= SHORTEST_LEASE_S
    if parts.scheme not in SCHEMES or not parts.hostname or odd:
        raise ConfigurationError(
            "a Redis store is like redis://host:port/db, redis://user:password@host:port/db?prefix=word "
            "or, with TLS, rediss://…"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f"{parts.scheme}://{host}:{port or 6379}/{database or 0}"
    bare = urlunsplit(parts._replace(query=urlencode(query)))
    return Place(bare, prefix, shown, lease_s)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def connect(place: Place, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return a client whose every call ends within about twice `timeout_s` seconds, in an error.

    It connects at its first call. It never tries again by itself: whoever calls knows better.

    Raises:
        ConfigurationError: the package `redis` is missing, or a version that must not be used.
    """
    redis = _package()
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    try:
        return redis.Redis.from_url(
            place.url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except (ValueError, TypeError) as exc:
        raise ConfigurationError(f"the store {place.shown} cannot be used: {exc}") from None


def redis_errors() -> tuple[type[Exception], ...]:
    """Return what a call may raise while Redis is away or refuses."""
    return (_package().exceptions.RedisError, OSError)


def check(client: Any, place: Place) -> None:
    """Make sure that a Redis answers which can do what is needed.

    Raises:
        StoreError: none answers, or it is too old.
    """
    errors = redis_errors()
    try:
        client.ping()
        version = _version(client)
    except errors as exc:
        raise StoreError(
            f"the store {place.shown} does not answer: {reason(exc)}; start Redis, or give another "
            "--store"
        ) from exc
    if version and tuple(version[:2]) < OLDEST_SERVER:
        told = ".".join(map(str, version))
        raise StoreError(f"the Redis at {place.shown} is {told}; 6.2 or newer is needed")


def run_id(client: Any) -> str:
    """Return what names this run of Redis, or nothing where that may not be asked."""
    from redis.exceptions import NoPermissionError  # noqa: PLC0415

    try:
        return str(client.info("server").get("run_id", ""))
    except NoPermissionError:
        return ""


def reason(error: Exception) -> str:
    """Return in one line why Redis does not do what was asked."""
    if isinstance(error, TimeoutError) or "imeout" in type(error).__name__:
        return "it does not answer in time"
    return " ".join(str(error).split())[:300] or type(error).__name__


def _version(client: Any) -> Sequence[int]:
    from redis.exceptions import NoPermissionError  # noqa: PLC0415

    try:
        told = str(client.info("server").get("redis_version", ""))
    except NoPermissionError:  # a user may be kept from INFO, and needs it for nothing else
        return ()
    return [int(part) for part in told.split(".") if part.isdecimal()]


def _package() -> Any:
    try:
        import redis  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "a Redis store needs the package redis: pip install 'socketprogress[redis]'"
        ) from None
    if redis.__version__ == BROKEN_CLIENT:
        raise ConfigurationError(
            f"the package redis {BROKEN_CLIENT} must not be used: pip install --upgrade redis"
        )
    return redis
