"""`install`: which applications are shown, where, and how Celery's signals are heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from celery import Celery, Task, signals

from socketprogress.celery import publishing, working
from socketprogress.celery.accepting import refuse_pickle
from socketprogress.celery.installed import Installation, installations, keep
from socketprogress.celery.offering import offer, registry_of
from socketprogress.celery.showing import Redact
from socketprogress.client.origin import is_store, parse_url
from socketprogress.core.errors import ConfigurationError
from socketprogress.core.reports import LONGEST_LEASE_S
from socketprogress.stores.redis_place import parse_redis_url

__all__ = ["install"]


def install(  # noqa: PLR0913 - the public signature
    celery_app: Celery,
    url: str | None = None,
    *,
    token: str | None = None,
    redact: Redact | None = None,
    cancel_grace_s: float = 10.0,
    accept_pickle: bool = False,
    tasks: Iterable[Any] = (),
    include: Sequence[str] = ("*",),
    ignore: Sequence[str] = (),
    abandon_s: float | None = 300.0,
) -> None:
    """Show every task of a Celery application live; the tasks stay as they are.

    Call it where the application is made, so that the processes that send tasks and the workers
    both do.

    Args:
        celery_app: the application.
        url: the server's base URL, or that of the Redis that servers share; without one, what the
            environment says, or a server on this host.
        token: what the server asks for; defaults to `SOCKETPROGRESS_TOKEN`.
        redact: ``redact(task_name, argument_name, value)`` returns what is shown of an argument;
            passwords, tokens, keys and the like are never shown.
        cancel_grace_s: seconds after which a task that does not notice that it is cancelled is
            ended by force, where the worker's pool can do that.
        accept_pickle: whether workers take pickles from the broker. Whoever reaches the broker may
            then run anything in them, so they are refused otherwise.
        tasks: modules with functions marked by `socketprogress.task`, such functions, or
            definitions: what the workers run when a server starts it with ``executor="celery"``.
        include: patterns like ``"orders.*"`` of the names of the tasks that are shown.
        ignore: patterns of those among them that are not.
        abandon_s: seconds that a task whose worker is silent may be `lost` until it is `failed`;
            None for ever. What is acknowledged late stays lost: another worker gets it.

    Raises:
        ConfigurationError: the URL is neither a server's nor a Redis's, a pattern is no text, there
            is no task in one of `tasks`, or `abandon_s` is not above 0.
    """
    if url is not None:
        _check(url)
    for patterns in (include, ignore):
        if isinstance(patterns, str) or not all(isinstance(one, str) for one in patterns):
            raise ConfigurationError(
                f"{patterns!r} must be a list of patterns, such as ['orders.*']"
            )
    if abandon_s is not None and not 0 < abandon_s <= LONGEST_LEASE_S:
        raise ConfigurationError(
            f"abandon_s={abandon_s} must be above 0, at most {LONGEST_LEASE_S:g}"
        )
    offer(celery_app, registry_of(tasks), reporter_of=working.running)
    installation = Installation(
        celery_app,
        url,
        token,
        redact,
        cancel_grace_s,
        accept_pickle,
        tuple(include),
        tuple(ignore),
        abandon_s,
    )
    if keep(installation):
        _listen()
    celery_app.on_after_finalize.connect(_prepare, weak=False)
    if celery_app.finalized:
        _prepare(celery_app)


def _check(url: str) -> None:
    try:
        if is_store(url):
            parse_redis_url(url)
        else:
            parse_url(url)
    except ValueError as exc:
        raise ConfigurationError(str(exc)) from None


def _prepare(sender: Celery, **_: Any) -> None:
    working.make_cancellable(sender)


def _on_worker_init(**_: Any) -> None:
    for one in installations():
        working.make_cancellable(one.app)
        if not one.accept_pickle:
            refuse_pickle(one.app)


def _listen() -> None:
    """Hear Celery's signals, once for all applications of this process."""
    heard: list[tuple[Any, Callable[..., Any]]] = [
        (signals.after_task_publish, publishing.on_publish),
        (signals.celeryd_init, _on_worker_init),
        (signals.worker_init, _on_worker_init),
        (signals.task_prerun, working.on_prerun),
        (signals.task_success, working.on_success),
        (signals.task_failure, working.on_failure),
        (signals.task_retry, working.on_retry),
        (signals.task_postrun, working.on_postrun),
        (signals.task_revoked, working.on_revoked),
        (signals.task_unknown, working.on_unknown),
        (signals.worker_process_shutdown, working.on_shutdown),
    ]
    for signal, receiver in heard:
        signal.connect(receiver, weak=False)
    working.extend(Task)
    publishing.extend()
