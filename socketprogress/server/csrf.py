"""The proof that a form was sent from a page of ours."""

from __future__ import annotations

import base64
import importlib
import secrets
from functools import cache
from types import ModuleType

from flask import current_app, g

from socketprogress.core.errors import Forbidden

__all__ = ["check_csrf", "csrf_library", "csrf_token"]

KEY = "socketprogress_csrf"


@cache
def csrf_library() -> ModuleType:
    """Return Flask-WTF's part for forms, which costs a third of a server's start when it is loaded."""
    return importlib.import_module("flask_wtf.csrf")


def csrf_token() -> str:
    """Return this visitor's token for a form, or nothing where the application has no secret.

    It looks otherwise in every answer, so that what compression makes of a page does not tell it.
    """
    if not current_app.secret_key:
        return ""
    if "socketprogress_csrf" not in g:
        g.socketprogress_csrf = _masked(csrf_library().generate_csrf(token_key=KEY))
    token: str = g.socketprogress_csrf
    return token


def check_csrf(token: str | None) -> None:
    """Let only forms of our own pages pass.

    Args:
        token: what the form has in its field ``csrf_token``.

    Raises:
        Forbidden: the token is missing, wrong or too old.
    """
    if not current_app.secret_key:
        raise Forbidden("forms need the application's SECRET_KEY to be set")
    library = csrf_library()
    try:
        library.validate_csrf(_unmasked(token or ""), token_key=KEY)
    except library.ValidationError as exc:
        raise Forbidden(f"this form cannot be taken ({exc}): load the page again") from None


def _masked(token: str) -> str:
    plain = token.encode()
    mask = secrets.token_bytes(len(plain))
    return base64.urlsafe_b64encode(mask + _xor(mask, plain)).decode()


def _unmasked(text: str) -> str:
    try:
        both = base64.urlsafe_b64decode(text)
    except ValueError:
        return text  # no token of ours, as will be found
    half = len(both) // 2
    return _xor(both[:half], both[half:]).decode(errors="replace")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))
