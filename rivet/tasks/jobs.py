"""The runner's tasks: take a job, run a stage. What they do is in `rivet.runner`."""

import gc
import logging
import signal
import threading
from typing import Any
from uuid import UUID

from celery import signals
from celery.exceptions import Ignore

from rivet.dispatch import RUN_STAGE, TAKE_JOB
from rivet.dispatch.sent_events import gather_sent_events
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.order import PROTOCOL
from rivet.domain.runner import own_queue_of, shared_queue_of
from rivet.journal.stream import StreamWriter
from rivet.runner.desk import Desk
from rivet.runner.pause_note import PauseNote
from rivet.runner.run_stage import run_stage as run_one_stage
from rivet.runner.take_job import take_job as take_one_job
from rivet.tasks.celery import app
from rivet.tasks.drain import Drain
from rivet.tasks.events import gather_events
from rivet.tasks.pause import Pausing
from rivet.wiring.runner import (
    CannotServe,
    SpoolerProcess,
    Station,
    desk_of,
    open_station,
    take_back_messages,
    wait_for_broker,
)
from rivet.wiring.settings import Settings

_log = logging.getLogger(__name__)
_LOOK_AFTER_S = 1.0
DRAIN_LOOK_S = 0.3

_station: list[Station] = []
_desk: list[Desk] = []
_spooler: list[SpoolerProcess] = []


@app.task(name=TAKE_JOB)
def take_job(job: str, epoch: int, protocol: int) -> None:
    if protocol != PROTOCOL:
        _log.error("job %s was published in protocol %s, this runner speaks %s", job, protocol, PROTOCOL)
        return
    take_one_job(JobId(UUID(job)), Epoch(epoch), _desk[0])


@app.task(name=RUN_STAGE, ignore_result=False)
def run_stage(_previous: Any, job: str, epoch: int, key: str) -> dict[str, Any]:
    result = run_one_stage(JobId(UUID(job)), Epoch(epoch), StageKey(key), _desk[0])
    if result is None:
        raise Ignore
    return result


@signals.task_prerun.connect(sender=run_stage)
def _have_in_hand(args: Any, **_: Any) -> None:
    """Celery publishes what follows after the task: while it cannot, the job is still in this slot's hand."""
    _desk[0].folder(JobId(UUID(args[1]))).note_busy()


@signals.task_postrun.connect(sender=run_stage)
def _let_go(args: Any, **_: Any) -> None:
    _desk[0].folder(JobId(UUID(args[1]))).note_idle()


@signals.worker_init.connect
def _open(sender: Any, **_: Any) -> None:
    """In the parent, before anything is consumed."""
    settings = Settings()
    served = sender.app.amqp.queues.consume_from
    queues = [name.removeprefix("q:") for name in served if name.startswith("q:")]
    try:
        wait_for_broker(settings)
        _station.append(open_station(settings, queues, sender.concurrency or settings.slots))
    except CannotServe as error:
        raise SystemExit(f"this runner cannot start: {error}") from None
    except Exception:  # noqa: BLE001
        # Celery passes over what a signal's receiver raises, and a runner without a station must not serve.
        _log.exception("this runner cannot start")
        raise SystemExit(3) from None
    _put_own_queue_first(sender, own_queue_of(settings.runner_name))
    moved = take_back_messages(settings)
    if moved:
        _log.warning("%d messages that were held when this runner died are taken back", moved)
    _spooler.append(SpoolerProcess(_station[0]))
    # What is loaded by now stays the same memory in all slots: their collectors pass it over.
    gc.collect()
    gc.freeze()


def _put_own_queue_first(sender: Any, own: str) -> None:
    """A job that was begun goes before a job that was not: at most slots + 1 are unfinished."""
    queues = sender.app.amqp.queues
    before = dict(queues.consume_from)
    queues.select([own, *(name for name in before if name.startswith(shared_queue_of("")))])


@signals.worker_ready.connect
def _begin_to_serve(sender: Any, **_: Any) -> None:
    """The spooler is started by the main thread, whose death is the parent's: PDEATHSIG follows threads."""
    _spooler[0].look_after()
    gather_events(sender)
    sender.timer.call_repeatedly(_LOOK_AFTER_S, _spooler[0].look_after)
    settings = _station[0].settings
    own = own_queue_of(settings.runner_name)
    stream = StreamWriter(settings.broker_url, settings.runner_name)
    drain = Drain(sender.controller, own, lambda: stream.waiting(own))
    drain.install()
    sender.timer.call_repeatedly(DRAIN_LOOK_S, drain.look)
    note = PauseNote(_station[0].folder)
    pausing = Pausing(sender.controller, own, lambda: drain.is_asked or note.is_there())
    sender.timer.call_repeatedly(DRAIN_LOOK_S, pausing.look)


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    for spooler in _spooler:
        spooler.stop()


@signals.worker_process_init.connect
def _sit_down(**_: Any) -> None:
    """In each slot, after the fork, in its main thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    gather_sent_events(app)
    _desk[:] = [desk_of(_station[0], app)]
