"""Loaded by each Python process of the system under test: it dies at a named place, once, where it was told to.

The product knows nothing of this. `PYTHON_CRASH_FOLDER` holds tokens: a file whose name is a point. The first process
that comes by that point takes the token, by a rename, and sends SIGKILL to itself, or to its parent if the token
says so. Functions are wrapped as soon as their module is there, before anybody can have taken them by name.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from importlib.abc import MetaPathFinder

FOLDER = os.environ.get("PYTHON_CRASH_FOLDER", "")
_here = threading.local()


def point(name):
    """Die here if the token of this point is there to be taken."""
    try:
        os.rename(f"{FOLDER}/{name}", f"{FOLDER}/{name}.taken")
    except OSError:
        return
    with open(f"{FOLDER}/{name}.taken") as token:
        whom = token.read().strip()
    os.kill(os.getppid() if whom == "parent" else os.getpid(), signal.SIGKILL)
    time.sleep(60)  # a parent's death takes us along, and nothing may happen before it does


def around(function, name):
    """The function with a point before and one after it."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        point(f"before {name}")
        result = function(*args, **kwargs)
        point(f"after {name}")
        return result

    return wrapped


def _take_job(module):
    module._claimed = around(module._claimed, "claim")
    module._laid_out = around(module._laid_out, "layout")
    module.publish_rest = around(module.publish_rest, "publish")


def _run_stage(module):
    module.run_stage = around(module.run_stage, "return")


def _folder(module):
    mark = module.JobFolder.mark

    def wrapped(self, epoch, kind, *args, **kwargs):
        return around(mark, f"{kind} mark")(self, epoch, kind, *args, **kwargs)

    module.JobFolder.mark = wrapped


def _journal(module):
    """After a record is in the spool and before it is sent, and after both."""
    record, send = module.Journal.record, module.Journal._send

    def recorded(self, type, **kwargs):
        _here.record = str(type)
        seq = record(self, type, **kwargs)
        point(f"after {type} record")
        return seq

    def sent(self, packed, later):
        point(f"spooled {_here.record} record")
        return send(self, packed, later)

    module.Journal.record, module.Journal._send = recorded, sent


def _spooler(module):
    module.Spooler._let_go = around(module.Spooler._let_go, "cleaning")


def _celery_results(module):
    module.Backend.mark_as_done = around(module.Backend.mark_as_done, "result")


def _kombu(module):
    """By the worker's parent, whose role is in the name: the runner's slots do not acknowledge.

    The module is loaded before its process knows which role it has.
    """
    ack = module.QoS.ack

    @functools.wraps(ack)
    def wrapped(*args, **kwargs):
        return around(ack, f"{os.environ.get('RIVET_ROLE', 'no')} ack")(*args, **kwargs)

    module.QoS.ack = wrapped


def _verb(name, told=lambda *_: ""):
    """While the verb runs, its transactions bear its name."""

    def patch(module):
        verb = getattr(module, name)

        @functools.wraps(verb)
        def wrapped(*args, **kwargs):
            _here.verb = f"{name}{told(*args)}"
            try:
                return verb(*args, **kwargs)
            finally:
                _here.verb = None

        setattr(module, name, wrapped)

    return patch


def _what_came(_runner, records):
    """The batch with a job's last record is another case than the others."""
    return " of job_done" if any(record.type == "job_done" for record in records) else ""


def _store(module):
    """Before a verb's commit, after it and before anybody is told of it, and after that."""
    begin = module.PostgresStore.begin

    @contextlib.contextmanager
    def begun(self):
        verb = getattr(_here, "verb", None)
        with begin(self) as tx:
            yield tx
            if verb is not None:
                point(f"before commit of {verb}")
        if verb is not None:
            point(f"after commit of {verb}")

    module.PostgresStore.begin = begun


def _outlet(module):
    call = module.Outlet.__call__

    def told(self, committed):
        verb = getattr(_here, "verb", None)
        if verb is not None:
            point(f"untold commit of {verb}")
        return call(self, committed)

    module.Outlet.__call__ = told


def _stream(module):
    module.StreamReader.done = around(module.StreamReader.done, "trim")


def _supervisor(module):
    """What is killed here by tests must not be given up, nor started ever later; and it is looked for often."""
    module.RESTART_WINDOW_S, module.LOOK_EVERY_S = 1.0, 0.1


def _control(module):
    """A dead leader's lease is waited for once a crash."""
    module.LEADER_S = 1.0


def _pool(module):
    """The runner's parent looks for dead slots at once, not only every 5 s."""
    module.AsynPool.timers = property(lambda self: {self.maintain_pool: 0.2})


PATCHES = {
    "rivet.runner.take_job": _take_job,
    "rivet.runner.run_stage": _run_stage,
    "rivet.runner.folder": _folder,
    "rivet.runner.journal": _journal,
    "rivet.runner.spooler": _spooler,
    "rivet.engine.start_run": _verb("start_run"),
    "rivet.engine.claim_job": _verb("claim_job"),
    "rivet.engine.renew_lease": _verb("renew_lease"),
    "rivet.engine.cancel_run": _verb("cancel_run"),
    "rivet.engine.ingest_records": _verb("ingest_records", _what_came),
    "rivet.engine.settle_job": _verb("settle_job"),
    "rivet.store.unit": _store,
    "rivet.wiring.outlet": _outlet,
    "rivet.wiring.control": _control,
    "rivet.journal.stream": _stream,
    "rivet.local.supervisor": _supervisor,
    "celery.concurrency.asynpool": _pool,
    "celery.backends.base": _celery_results,
    "kombu.transport.redis": _kombu,
}


class _Finder(MetaPathFinder):
    """Finds nothing by itself: what others find is patched as soon as it has been executed."""

    def find_spec(self, name, path, target=None):
        if name not in PATCHES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def patched(module):
                execute(module)
                PATCHES[name](module)

            spec.loader.exec_module = patched
        return spec


if FOLDER:
    sys.meta_path.insert(0, _Finder())
