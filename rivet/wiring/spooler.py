"""The spooler's process: `python -m rivet.wiring.spooler JSON`, started by a runner, and ended with it.

It is told all that it needs, so that it loads little: what reads settings has as much memory as all of this.
"""

import ctypes
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

from rivet.client import Client
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.runner import KeepingRule
from rivet.journal.stream import StreamWriter
from rivet.runner.folder import JobFolder
from rivet.runner.pause_note import PauseNote
from rivet.runner.publish_aside import PublishAside
from rivet.runner.spooler import LOOK_S, Spooler

PR_SET_PDEATHSIG = 1
SECRET = ("RIVET_BROKER_URL", "RIVET_URL", "RIVET_TOKEN")


def main() -> None:
    told: dict[str, Any] = json.loads(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != told["parent"]:
        sys.exit("the runner that started this spooler is gone")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s spooler %(levelname)s %(message)s")
    spooler = _spooler(told)
    over = threading.Event()
    # A look that has begun is ended first: a beat on its way would be heard after the word of leaving, as one
    # of a runner that is back.
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    while not over.is_set():
        spooler.look()
        over.wait(LOOK_S)
    spooler.leave()


def _spooler(told: dict[str, Any]) -> Spooler:
    jobs, runner, lease_s = Path(told["folder"]) / "jobs", told["runner"], told["lease_s"]
    # What is secret is in the environment, not in the argument list.
    broker_url, url, token = (os.environ[name] for name in SECRET)
    # A Redis that stands still must not keep the heartbeat back: what waits for it waits a part of a beat.
    stream = StreamWriter(broker_url, runner, timeout_s=min(2.0, lease_s / 8))

    def publish_again(job: JobId, epoch: Epoch) -> None:
        # Celery is imported only when a chain has to be mended: this process mostly reads files and beats.
        from rivet.dispatch import impatient_app
        from rivet.runner.take_job import publish_rest
        from rivet.wiring.runner import chain_publisher

        folder = JobFolder(jobs, job)
        order = folder.order(epoch)
        if order is not None:
            publish_rest(order, folder, chain_publisher(impatient_app(broker_url), runner))

    return Spooler(
        runner=runner,
        session=SessionId(UUID(told["session"])),
        jobs=jobs,
        slots=told["slots"],
        lease_s=lease_s,
        client=Client(url, token, timeout_s=lease_s / 2),
        stream=stream,
        publish_again=PublishAside(publish_again),
        drain=lambda: os.kill(told["parent"], signal.SIGTERM),
        pause=PauseNote(Path(told["folder"])).write,
        keeping=KeepingRule(**told["keeping"]),
    )


if __name__ == "__main__":
    main()
