"""A job's lease: renewed from a thread of the supervising process, which also hears of a cancellation."""

import contextlib
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.domain.errors import Unavailable
from rivet.domain.order import Order
from rivet.journal.stream import StreamWriter
from rivet.runner.room import RoomLost

LOOK_S = 0.25


class LeaseKeeper:
    """Of one attempt. `stopped()` is None while all is well, else `cancelled`, `fenced` or `timed_out`.

    `deadline` is on the monotonic clock, in seconds. `each_beat` is called with every renewal (it pings the
    room), `on_stop` once, when the stage is to stop.
    """

    def __init__(
        self,
        order: Order,
        client: Client,
        stream: StreamWriter,
        lease_s: float,
        deadline: float,
        *,
        each_beat: Callable[[], None],
        on_stop: Callable[[str], None],
    ) -> None:
        self._order, self._client, self._stream = order, client, stream
        self._beat_s, self._deadline = lease_s / 4, deadline
        self._each_beat, self._on_stop = each_beat, on_stop
        self._over = threading.Event()
        self._reason: str | None = None
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="cancel-watch", daemon=True)
        self._keeper = threading.Thread(target=self._keep_time, name="time-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._renewer.start()
        self._watcher.start()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def stopped(self) -> str | None:
        return self._reason

    def _stop(self, reason: str) -> None:
        if self._reason is None and not self._over.is_set():
            self._reason = reason
            self._on_stop(reason)

    def _renew(self) -> None:
        path = f"/runner/jobs/{self._order.job}/lease"
        while not self._over.is_set():
            try:
                answer = self._client.call(
                    "POST",
                    path,
                    {"epoch": self._order.epoch},
                    headers={"Authorization": f"Bearer {self._order.ticket}"},
                )
                if answer["state"] != "ok":
                    self._stop(answer["state"])
            except ApiProblem as problem:
                if problem.status in (401, 403, 409):
                    self._stop("fenced")
            except ApiUnreachable:
                pass  # Nobody is judged while no API answers; the next beat tries again.
            self._over.wait(self._beat_s)

    def _keep_time(self) -> None:
        """Waits for nobody: the room lives on, and the deadline holds, while API and Redis are away."""
        pinged = 0.0
        while not self._over.wait(LOOK_S):
            now = time.monotonic()
            if now > self._deadline:
                self._stop("timed_out")
            if now - pinged > self._beat_s / 2:
                pinged = now
                with contextlib.suppress(OSError, RoomLost):
                    self._each_beat()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            if self._reason is None:
                with contextlib.suppress(Unavailable):
                    if self._stream.is_cancelled(self._order.job):
                        self._stop("cancelled")
