"""The proof that a form was sent from a page of ours."""

from __future__ import annotations

from flask import current_app, request

from socketprogress.core.errors import Forbidden

__all__ = ["check_csrf", "csrf_token"]

# Flask-WTF and WTForms cost a third of the server's start; nobody needs them before a form.
KEY = "socketprogress_csrf"


def csrf_token() -> str:
    """Return this visitor's token for a form, or nothing where the application has no secret."""
    if not current_app.secret_key:
        return ""
    from flask_wtf.csrf import generate_csrf  # noqa: PLC0415

    token: str = generate_csrf(token_key=KEY)
    return token


def check_csrf() -> None:
    """Let only forms of our own pages pass.

    Raises:
        Forbidden: the token is missing, wrong or too old.
    """
    if not current_app.secret_key:
        raise Forbidden("forms need the application's SECRET_KEY to be set")
    from flask_wtf.csrf import ValidationError, validate_csrf  # noqa: PLC0415

    try:
        validate_csrf(request.form.get("csrf_token"), token_key=KEY)
    except ValidationError as exc:
        raise Forbidden(f"this form cannot be taken ({exc}): load the page again") from None
