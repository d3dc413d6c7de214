"""Who may come in, with which token."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from socketprogress.core.errors import RateLimited, Unauthorized
from socketprogress.server.hosts import Hosts, is_from_here, is_loopback
from socketprogress.server.policy import Policy
from socketprogress.server.principals import Principal, Role
from socketprogress.server.settings import Settings
from socketprogress.server.tokens import PREFIX, Tokens, cookie_digest

__all__ = ["Access", "TokenBucket"]

COOKIE = "socketprogress"
GUESSES = 20
GUESS_EVERY_S = 3.0
GUESSERS = 1024


class TokenBucket:
    """Lets `rate` a second pass on average, and `burst` at once.

    Args:
        rate: a second.
        burst: how many may come at once after a pause.
        clock: monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_clock", "_left", "_rate")

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = float(burst), clock()

    def take(self, n: float = 1) -> float:
        """Take `n` and return 0.0, or take nothing and return the seconds until there are `n`."""
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._rate, self._burst)
        self._at = now
        if self._left >= n:
            self._left -= n
            return 0.0
        return (n - self._left) / self._rate

    def charge(self, n: float) -> None:
        """Take `n` whatever there is; what is missing is made up for first."""
        self._left -= n


class Access(Hosts):
    """One server's answer to who may come in.

    Args:
        settings: the token, the host names and the origins.
        open_to_all: nobody needs a token off loopback either.
        policy: what somebody may do, once they are in; it knows the host application's users.
        here_only: what is open on loopback is open to requests from loopback alone, since somebody
            else's listener may be on any address, with a Host header of anybody's choice.
        clock: monotonic seconds.
        wall: Unix seconds.

    Attributes:
        tokens: those that were given out beside the server's own.
        port: what the server listens on, once that is known; it is in the cookie's name, since two
            servers on one machine share their cookies.
        label: what stands there instead, where somebody else listens.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        open_to_all: bool = False,
        policy: Policy | None = None,
        here_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings)
        self.settings = settings
        self.port = settings.port
        self.label = ""
        self.policy = policy or Policy()
        self.tokens = Tokens(settings.data, wall)
        self._clock, self._wall = clock, wall
        here_alone = is_loopback(settings.host) and not settings.proxies
        self._open = settings.token is None and (open_to_all or here_alone)
        self._here_only = here_only and not open_to_all
        self._digest = None if settings.token is None else cookie_digest(settings.token)
        self._guessers: dict[str, TokenBucket] = {}

    # -- tokens ----------------------------------------------------------------------------------

    @property
    def needs_token(self) -> bool:
        """Whether a client has to present a token."""
        return not self._open and not self.policy.asks

    @property
    def cookie_name(self) -> str:
        """The name of the cookie that stands for the token."""
        return f"{COOKIE}_{self.label or self.port}"

    def holder_of(self, token: Any) -> Principal | None:
        """Return whom a token lets in, or None if it is not right.

        Raises:
            Unauthorized: it was right, and has expired.
        """
        return self._holder(cookie_digest(token)) if isinstance(token, str) else None

    def allows(self, environ: Mapping[str, Any], auth: Any = None) -> Principal | None:
        """Return whoever sent this, or None if they may not come in.

        A token that is given explicitly counts alone, be it right or wrong, even where none is
        needed, if it is of the kind that we make; the cookie counts where there is none, and then
        the host application's user.

        Args:
            environ: the WSGI environment of the request.
            auth: what a Socket.IO client sent as `auth`.

        Raises:
            Unauthorized: the token has expired.
            RateLimited: too many wrong tokens came from this address.
        """
        token = _presented(environ, auth)
        if token is not None and not self._means_nothing(token):
            return self._bearer_of(token, environ)
        holder = self._cookie_holder(environ)
        if holder is not None:
            return holder
        if self.policy.asks:
            return self.policy.visitor(environ)
        is_let_in = self._open and (not self._here_only or is_from_here(environ))
        return Principal(role=Role.OPERATOR) if is_let_in else None

    def holds(self, principal: Principal) -> bool:
        """Return whether the token that let somebody in is still worth something."""
        return principal.token_id is None or self.tokens.valid(principal.token_id)

    def guess(self, token: Any, environ: Mapping[str, Any]) -> Principal | None:
        """Return whom a token lets in; an address that guesses wrong is slowed down.

        Raises:
            Unauthorized: the token has expired.
            RateLimited: too many wrong tokens came from this address.
        """
        holder = self.holder_of(token)
        if holder is not None:
            return holder
        address = str(environ.get("REMOTE_ADDR", ""))
        bucket = self._guessers.pop(address, None)
        if bucket is None:
            bucket = TokenBucket(1 / GUESS_EVERY_S, GUESSES, self._clock)
        while len(self._guessers) >= GUESSERS:
            self._guessers.pop(next(iter(self._guessers)), None)
        self._guessers[address] = bucket
        wait_s = bucket.take()
        if wait_s:
            raise RateLimited("too many wrong tokens came from here", retry_after_s=wait_s)
        return None

    def connection(self, environ: Mapping[str, Any], auth: Any = None) -> Principal:
        """Return whoever sent this request or opened this connection.

        Raises:
            Unauthorized: no token, or a wrong one.
            RateLimited: too many wrong ones.
        """
        principal = self.allows(environ, auth)
        if principal is None:
            raise Unauthorized(
                "this application lets in only this machine without a token or `authorize`"
                if self._open and _presented(environ, auth) is None
                else "this server needs its token, and this is not it or there is none"
            )
        return principal

    def credentials(self, environ: Mapping[str, Any]) -> bytes:
        """Return a digest of who sent this: address and credentials."""
        parts = (
            str(environ.get("REMOTE_ADDR", "")),
            str(environ.get("HTTP_AUTHORIZATION", "")),
            self._cookie(environ),
        )
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()

    def _means_nothing(self, token: Any) -> bool:
        """Return whether a token is none of ours, where none is needed: left over from elsewhere."""
        ours = not isinstance(token, str) or token.startswith(PREFIX)
        return self._open and not self.policy.asks and not ours

    def _bearer_of(self, token: Any, environ: Mapping[str, Any]) -> Principal | None:
        if self.policy.asks and self.holder_of(token) is None:
            # The host application may have bearer tokens of its own.
            visitor = self.policy.visitor(environ)
            if visitor.user is not None:
                return visitor
        return self.guess(token, environ)

    def _cookie_holder(self, environ: Mapping[str, Any]) -> Principal | None:
        cookie = self._cookie(environ)
        try:
            return self._holder(cookie) if cookie else None
        except Unauthorized:
            if self._open:
                return None
            raise

    def _holder(self, cookie: str) -> Principal | None:
        if self._digest is not None and hmac.compare_digest(
            cookie.encode("utf-8", "replace"), self._digest.encode()
        ):
            return Principal(role=Role.OPERATOR)
        token = self.tokens.find(cookie)
        if token is None:
            return None
        if token.expired(self._wall()):
            raise Unauthorized("this token has expired: ask whoever gave it to you for a new one")
        return Principal(
            role=token.role,
            task_id=token.task_id,
            name=token.name,
            token_id=token.id,
            expires_at=token.expires_at,
        )

    def _cookie(self, environ: Mapping[str, Any]) -> str:
        try:
            morsel = SimpleCookie(str(environ.get("HTTP_COOKIE", ""))).get(self.cookie_name)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value


def _presented(environ: Mapping[str, Any], auth: Any) -> Any:
    """Return the token that is given explicitly, or None."""
    token = auth.get("token") if isinstance(auth, dict) else None
    return _bearer(environ) if token is None else token


def _bearer(environ: Mapping[str, Any]) -> str | None:
    kind, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if kind.lower() != "bearer":
        return None
    # WSGI hands headers over as Latin-1; what is no UTF-8 is no token either.
    return token.strip().encode("latin-1", "replace").decode("utf-8", "replace")
