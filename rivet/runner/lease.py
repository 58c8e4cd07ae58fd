"""A job's lease: renewed from a thread of the supervising process, which also hears of a cancellation."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.clock import Clock
from rivet.domain.errors import Unavailable
from rivet.domain.ids import StageKey
from rivet.domain.order import Order
from rivet.domain.stage import CancelScope
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder, now_s
from rivet.runner.room import RoomLost

LOOK_S = 0.25
RETRY_S = 0.5
FRESH = 0.75
"""The part of a lease for which control's word that the job is ours is good enough to begin something."""

_CLOCK = Clock("time")

_CANCELLED: Mapping[CancelScope, str] = {"run": "cancelled", "stage": "stage_cancelled"}


class LeaseKeeper:
    """Of one attempt. `stopped()` is None while all is well, else `cancelled` (with its run),
    `stage_cancelled` (alone), `fenced` or `timed_out`.

    `deadline` is on the monotonic clock, in seconds. `each_beat` is called with every renewal (it pings the
    room), `on_stop` once, when the stage is to stop.

    Renewing and looking for a cancellation wait for servers, each in a thread of its own. They are begun when
    they are wanted, or after a first look: an attempt that is shorter, and only logs, costs neither.
    """

    def __init__(
        self,
        order: Order,
        stage: StageKey,
        attempt: int,
        desk: Desk,
        folder: JobFolder,
        deadline: float,
        *,
        each_beat: Callable[[], None],
        on_stop: Callable[[str], None],
    ) -> None:
        self._order, self._desk, self._folder = order, desk, folder
        self._begun: dict[str, Any] = {"stage": stage, "attempt": attempt}
        self._stage = stage
        self._beat_s, self._deadline = desk.lease_s / 4, deadline
        self._each_beat, self._on_stop = each_beat, on_stop
        self._over = threading.Event()
        self._wanted = threading.Event()
        self._heard = threading.Condition()
        self._confirmed_at: float | None = None
        self._reason: str | None = None
        self._starting = threading.Lock()
        self._is_asking = False
        self._pinged_at = 0.0

    def __enter__(self) -> Self:
        self._next_look = _CLOCK.call_at(time.monotonic() + LOOK_S, self._keep_time)
        if self._folder.lease_age_s(self._order.epoch) >= self._beat_s:
            self._ask_servers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._next_look.call_off()
        self._wanted.set()

    def stopped(self) -> str | None:
        return self._reason

    def ask_ahead(self) -> None:
        """`assure` will be called soon: what it waits for may be asked meanwhile."""
        self._wanted.set()
        self._ask_servers()

    def assure(self) -> None:
        """Wait until control knows that this attempt has begun, and has lately said that the job is ours.

        Called before what must not happen twice. Whoever was frozen, or cut off, may have been judged lost
        meanwhile. Returns as soon as the stage is to stop.
        """
        self.ask_ahead()
        with self._heard:
            self._heard.wait_for(lambda: self._reason is not None or self._is_fresh())

    def _ask_servers(self) -> None:
        with self._starting:
            if not self._is_asking:
                self._is_asking = True
                for work, name in ((self._renew, "lease"), (self._watch, "cancel")):
                    threading.Thread(target=work, name=name, daemon=True).start()

    def _is_fresh(self) -> bool:
        at = self._confirmed_at
        return at is not None and now_s() - at < self._desk.lease_s * FRESH

    def _stop(self, reason: str) -> None:
        if self._reason is None and not self._over.is_set():
            self._reason = reason
            with self._heard:
                self._heard.notify_all()
            self._on_stop(reason)

    def _renew(self) -> None:
        """At first when it is wanted, or when it is time: an attempt that only logs costs no request."""
        self._wanted.wait(max(self._beat_s - self._folder.lease_age_s(self._order.epoch), 0.0))
        while not self._over.is_set():
            asked_at = now_s()
            state = _asked(self._order, self._desk.client, self._begun)
            if state == "ok":
                self._folder.note_lease(self._order.epoch, asked_at)
                self._begun = {}
                with self._heard:
                    self._confirmed_at = asked_at
                    self._heard.notify_all()
            elif state is not None:
                self._stop(state)
            self._over.wait(self._beat_s if state is not None else min(self._beat_s, RETRY_S))

    def _keep_time(self) -> float | None:
        """Waits for nobody: the room lives on, and the deadline holds, while API and Redis are away."""
        if self._over.is_set():
            return None
        self._ask_servers()
        now = time.monotonic()
        if now > self._deadline:
            self._stop("timed_out")
        if now - self._pinged_at > self._beat_s / 2:
            self._pinged_at = now
            with contextlib.suppress(OSError, RoomLost):
                self._each_beat()
        return time.monotonic() + LOOK_S

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            if self._reason is None:
                with contextlib.suppress(Unavailable):
                    scope = self._desk.stream.is_cancelled(self._order.job, self._order.epoch, self._stage)
                    if scope is not None:
                        self._stop(_CANCELLED[scope])


def is_still_ours(order: Order, folder: JobFolder, desk: Desk) -> bool:
    """Before something begins: is the job this runner's in this epoch?

    Asks only where control's last word on it is not fresh, as after a process that slept; then it waits for
    as long as the API is away.
    """
    while folder.lease_age_s(order.epoch) >= desk.lease_s * FRESH:
        asked_at = now_s()
        state = _asked(order, desk.client, {})
        if state == "fenced":
            return False
        if state is not None:
            folder.note_lease(order.epoch, asked_at)
            break
        time.sleep(RETRY_S)
    return True


def _asked(order: Order, client: Client, begun: dict[str, Any]) -> str | None:
    """Renew: `ok`, or what stops the stage; None where there was no answer: nobody is judged for that."""
    try:
        answer = client.call(
            "POST",
            f"/runner/jobs/{order.job}/lease",
            {"epoch": order.epoch, **begun},
            headers={"Authorization": f"Bearer {order.ticket}"},
        )
    except ApiProblem as problem:
        return "fenced" if problem.status in (401, 403, 409) else None
    except ApiUnreachable:
        return None
    state = str(answer["state"])
    return _CANCELLED["stage" if answer.get("scope") == "stage" else "run"] if state == "cancelled" else state
