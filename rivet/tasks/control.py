"""Control's task: settle a job whose chain has ended. Its arguments are a hint; the database decides."""

import logging
from typing import Any
from uuid import UUID

from celery import signals

from rivet.dispatch import SETTLE_JOB
from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId
from rivet.tasks.celery import app
from rivet.tasks.events import gather_events
from rivet.telemetry.logs import about, set_up_logs
from rivet.wiring.control import Control
from rivet.wiring.settings import Settings

_log = logging.getLogger(__name__)
_control: list[Control] = []


@app.task(name=SETTLE_JOB)
def settle_job(_previous: Any, job: str, epoch: int) -> None:
    """Ingest calls the same verb when the journal is in, and upkeep looks for what both missed."""
    with about(job=job, epoch=epoch):
        try:
            _control[0].settle(JobId(UUID(job)), Epoch(epoch))
        except Unavailable as error:
            _log.warning("job %s is settled later: %s", job, error)


@signals.celeryd_init.connect
@signals.setup_logging.connect
def _set_up_logs(**_: Any) -> None:
    """Before Celery says its first word; and its own set-up is left out where the second is taken."""
    settings = Settings()
    set_up_logs(settings.log_format, settings.log_level, "celery")


@signals.worker_init.connect
def _begin(**_: Any) -> None:
    _control.append(Control(Settings()))


@signals.worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    gather_events(sender)
    _control[0].start()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    for control in _control:
        control.stop()
