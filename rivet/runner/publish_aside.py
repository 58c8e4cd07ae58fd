"""Publish the rest of a chain beside the heartbeat: neither an import nor a slow Redis may keep that back."""

import threading
from collections.abc import Callable

from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId


class PublishAside:
    """Callable as a spooler's `publish_again`: it raises Unavailable until what was asked for is done.

    `publish` is called in a thread, one job at a time, and again with a later call where it failed.
    """

    def __init__(self, publish: Callable[[JobId, Epoch], None]) -> None:
        self._publish = publish
        self._thread: threading.Thread | None = None
        self._done: set[tuple[JobId, Epoch]] = set()

    def __call__(self, job: JobId, epoch: Epoch) -> None:
        if self._thread is not None and self._thread.is_alive():
            raise Unavailable("a chain is being published")
        if (job, epoch) in self._done:
            self._done.remove((job, epoch))
            return
        self._thread = threading.Thread(target=self._work, args=(job, epoch), name="publish", daemon=True)
        self._thread.start()
        raise Unavailable("the chain will be published")

    def _work(self, job: JobId, epoch: Epoch) -> None:
        try:
            self._publish(job, epoch)
        except Unavailable:
            return
        self._done.add((job, epoch))
