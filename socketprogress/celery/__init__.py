"""Celery tasks as they are, live: ``install(app)`` beside the application, and nothing else."""

from socketprogress.celery.installing import install

__all__ = ["install"]
