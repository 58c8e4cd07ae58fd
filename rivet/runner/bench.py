"""A bench of the runner's own: a room in which our programs work on a job's workspace between its stages.

Nothing of a user runs in it. It is pinged by itself, and given up where time is up, and where the run is
cancelled unless it is used because of that.
"""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rivet.domain.ids import StageKey
from rivet.domain.order import Order
from rivet.modules.contract import CallError
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.room import CannotEnclose, CannotStart, Ended, Room, RoomLost, RoomSpec
from rivet.runner.room_command import Output
from rivet.sandbox.isolation.bubblewrap import NoBubblewrap
from rivet.sandbox.isolation.enclosure import Layout

LOOK_S = 0.25
MOST_S = 1800.0


class OwnBench:
    """A `packing.Bench`; use as a context manager. `say` takes a level and a line for the log.

    What goes wrong raises CallError, whatever it is: nothing of it is the user's.
    """

    def __init__(
        self,
        order: Order,
        stage: StageKey,
        desk: Desk,
        folder: JobFolder,
        say: Callable[[str, str], None],
        *,
        most_s: float = MOST_S,
        heeds_cancel: bool = True,
    ) -> None:
        self._order, self._stage, self._desk, self._folder = order, stage, desk, folder
        self._most_s, self._heeds_cancel = most_s, heeds_cancel
        self._until = time.monotonic() + most_s
        self._room: Room | None = None
        self._over = threading.Event()
        self._pinger = threading.Thread(target=self._ping, name="bench-ping", daemon=True)
        self._looked_at = 0.0
        self._stopped: str | None = None
        self.say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._room is not None:
            self._pinger.join()
            self._room.close()

    @property
    def layout(self) -> Layout:
        try:
            return self._opened().layout
        except (CannotEnclose, NoBubblewrap, RoomLost, OSError) as error:
            raise CallError(f"the workspace of the job: {error}") from None

    def run_program(self, argv: Sequence[str], *, on_output: Output, stdin: int | None = None) -> Ended:
        self.go_on()
        try:
            ended = self._opened().run(
                argv, env={}, stdin=stdin, on_output=on_output, stop=self._reason_to_stop, grace_s=1.0
            )
        except (CannotStart, CannotEnclose, NoBubblewrap, RoomLost, OSError) as error:
            raise CallError(f"the workspace of the job: {error}") from None
        self.go_on()
        return ended

    def go_on(self) -> None:
        """Raises CallError where it is to be given up."""
        why = self._reason_to_stop()
        if why is not None:
            raise CallError(f"the workspace of the job: {why}")

    def _reason_to_stop(self) -> str | None:
        now = time.monotonic()
        if now > self._until:
            self._stopped = f"it took over {self._most_s:g} s"
        elif self._heeds_cancel and self._stopped is None and now - self._looked_at >= LOOK_S:
            self._looked_at = now
            if self._desk.stream_says_cancelled(self._order.job, self._order.epoch, self._stage) == "run":
                self._stopped = "the run was cancelled"
        return self._stopped

    def _opened(self) -> Room:
        if self._room is None:
            self._room = Room(
                RoomSpec(
                    workspace=self._folder.workspace,
                    home=None,
                    uid=self._desk.uids.of(self._folder.path),
                    tools=self._desk.tools,
                    ping_s=self._desk.lease_s * 0.75,
                    isolation=self._desk.isolation,
                )
            )
            self._pinger.start()
        return self._room

    def _ping(self) -> None:
        """While it is waited for the API nobody else speaks to the room."""
        while not self._over.wait(self._desk.lease_s / 8):
            try:
                if self._room is not None:
                    self._room.ping()
            except (OSError, RoomLost):
                return
