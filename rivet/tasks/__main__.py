"""`python -m rivet.tasks`: a worker of the role that RIVET_ROLE says, with the options that this role needs.

As `celery -A rivet.tasks worker` would be, which loads what all of Celery's commands need, and Flower with
them: at each start 0.3 s and 14 MiB that a worker has no use for.
"""

import logging
import sys
from typing import Any

from celery.utils.nodenames import host_format

from rivet.domain.runner import shared_queue_of
from rivet.tasks.celery import ROLE, app
from rivet.wiring.settings import Settings


def main() -> None:
    settings = Settings()
    options = _control() if ROLE == "control" else _runner(settings)
    level = settings.log_level.upper()
    if level == "INFO":
        # What became of each message is in the record of its run; here it would be two lines a message.
        for name in ("celery.worker.strategy", "celery.app.trace"):
            logging.getLogger(name).setLevel(logging.WARNING)
    worker = app.Worker(**options, loglevel=level, without_gossip=True, without_mingle=True)
    worker.start()
    sys.exit(worker.exitcode)


def _control() -> dict[str, Any]:
    """Quiet is Celery's banner: no line of it is JSON."""
    return {
        "hostname": _named("control"), "pool_cls": "threads", "concurrency": 2, "queues": ["control"],
        "quiet": True,
    }  # fmt: skip


def _runner(settings: Settings) -> dict[str, Any]:
    return {
        "hostname": _named(settings.runner_name),
        "pool_cls": "prefork",
        "concurrency": settings.slots,
        "queues": [shared_queue_of(queue) for queue in settings.queues],
    }


def _named(name: str) -> str:
    return str(host_format(f"{name}@%h"))


if __name__ == "__main__":
    main()
