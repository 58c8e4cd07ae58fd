"""Rivet's Celery app: `celery -A rivet.tasks worker -Q q:default` is a runner, as any Celery user expects."""

from rivet.tasks.celery import app

__all__ = ["app"]
