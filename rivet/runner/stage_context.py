"""What a stage's module calls act on: its log, its values, and its room, opened when first needed."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rivet.domain.log import encode_line
from rivet.domain.order import Order, OrderedStage
from rivet.domain.record import RecordType
from rivet.domain.wording import lua_number
from rivet.modules.contract import CallError, Process
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.git import GitFailed, fetch_git
from rivet.runner.journal import Journal
from rivet.runner.log_writer import LogWriter
from rivet.runner.reach import ProxyRules
from rivet.runner.room import CannotStart, Room, RoomSpec

MAX_CAPTURE_BYTES = 1024 * 1024
TAIL_LINES = 12
GRACE_S = 10.0


class Stopped(Exception):
    """The stage was told to stop: nothing more of the script is to run."""


class StageCalls:
    """The `StageContext` of one attempt; also closes its room."""

    def __init__(
        self,
        order: Order,
        stage: OrderedStage,
        attempt: int,
        desk: Desk,
        folder: JobFolder,
        journal: Journal,
        log: LogWriter,
        stopped: Callable[[], str | None],
        assure: Callable[[], None],
        outputs: Mapping[str, Any],
    ) -> None:
        self._order, self._stage, self._attempt = order, stage, attempt
        self._desk, self._folder, self._journal, self._log = desk, folder, journal, log
        self._stopped, self._assure = stopped, assure
        self._room: Room | None = None
        self._guard = threading.Lock()
        self.in_process = False
        self.env: Mapping[str, str] = variables(order, stage)
        self.inputs: Mapping[str, Any] = order.inputs
        self.outputs: dict[str, Any] = dict(outputs)
        self.new_outputs: dict[str, Any] = {}
        self.facts: Mapping[str, Any] = order.facts

    def say(self, level: str, text: str) -> None:
        self._log.say(level, text)

    def set_output(self, name: str, value: Any) -> None:
        self.outputs[name] = self.new_outputs[name] = value
        self._record(RecordType.OUTPUT, {"name": name, "value": value})

    def set_summary(self, markdown: str) -> None:
        self._record(RecordType.SUMMARY, {"markdown": markdown.replace("\0", "")})

    def _record(self, type: RecordType, data: Mapping[str, Any]) -> None:
        self._journal.record(type, stage=self._stage.key, attempt=self._attempt, data=data)

    def run_process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        stdin: bytes | None,
        timeout_s: float | None,
        capture: bool,
        quiet: bool = False,
    ) -> Process:
        self._go_on()
        kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        sizes = {"stdout": 0, "stderr": 0}
        tail: deque[bytes] = deque(maxlen=2)

        def take(stream: str, data: bytes) -> None:
            if not quiet:
                self._log.output(stream, data)
            if capture and sizes[stream] < MAX_CAPTURE_BYTES:
                kept[stream].append(data[: MAX_CAPTURE_BYTES - sizes[stream]])
                sizes[stream] += len(data)
            tail.append(data[-4096:])

        self.in_process = True
        room = self._opened()
        try:
            self._assure()
            self._go_on()
            ended = room.run(
                list(argv),
                env=self._process_env(env),
                cwd=cwd,
                stdin=stdin,
                timeout_s=timeout_s,
                on_output=take,
                stop=self._stopped,
                grace_s=GRACE_S,
            )
        except CannotStart as error:
            raise CallError(f"process.run: {error}") from None
        finally:
            self.in_process = False
            self._log.finish()
        self._go_on()
        if ended.ended_by == "timeout":
            raise CallError(
                f'process.run: command "{argv[0]}" was stopped after its timeout of {timeout_s:g} s'
            )
        return Process(
            ended.exit_code,
            b"".join(kept["stdout"]),
            b"".join(kept["stderr"]),
            ended.seconds,
            last := _last_lines(b"".join(tail)),
            room.hint(last) if ended.exit_code != 0 else "",
        )

    def fetch_git(self, url: str, ref: str | None, commit: str | None, depth: int, path: str) -> str:
        self._go_on()
        self.in_process = True
        try:
            return fetch_git(
                url,
                ref=ref,
                commit=commit,
                depth=depth,
                path=path,
                spec=self._spec(None),
                reach=self._desk.reach,
                on_output=self._log.output,
                stop=self._stopped,
            )
        except GitFailed as error:
            raise CallError(str(error)) from None
        finally:
            self.in_process = False
            self._log.finish()
            self._go_on()

    def _go_on(self) -> None:
        reason = self._stopped()
        if reason is not None:
            raise Stopped(reason)

    def _process_env(self, env: Mapping[str, str]) -> dict[str, str]:
        """What is added to the room's own variables, the narrowest last."""
        order = self._order
        return {
            "CI": "true",
            "RIVET": "true",
            "RIVET_RUN_ID": str(order.run),
            "RIVET_RUN_NUMBER": str(order.number),
            "RIVET_STAGE": self._stage.key,
            "RIVET_PIPELINE": order.pipeline,
            "RIVET_PROJECT": order.project,
            **order.env,
            **self._stage.env,
            **env,
        }

    def _spec(self, network: ProxyRules | None) -> RoomSpec:
        return RoomSpec(
            workspace=self._folder.workspace,
            home=self._folder.home,
            uid=self._desk.uids.of(self._folder.path),
            tools=self._desk.tools,
            network=network,
            ping_s=self._desk.lease_s * 0.75,
        )

    def _opened(self) -> Room:
        if self._room is None:
            grants = self._order.grants
            network = None
            if grants.network or grants.network_hosts:
                network = ProxyRules(
                    reach=self._desk.reach, everything=grants.network, hosts=grants.network_hosts
                )
            room = Room(self._spec(network))
            with self._guard:
                self._room = room
        return self._room

    def ping(self) -> None:
        with self._guard:
            if self._room is not None:
                self._room.ping()

    def close(self) -> None:
        """End everything in the room, whatever the script left running."""
        with self._guard:
            room, self._room = self._room, None
        if room is not None:
            room.close()


def variables(order: Order, stage: OrderedStage) -> dict[str, str]:
    """What `env` reads: parameters as text, then what pipeline and stage say."""
    inputs = {
        name: value if isinstance(value, str) else _plain(value) for name, value in order.inputs.items()
    }
    return {**inputs, **order.env, **stage.env}


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else lua_number(value)


def _last_lines(raw: bytes) -> list[str]:
    return [encode_line(line) for line in raw.rstrip(b"\n").split(b"\n")[-TAIL_LINES:] if line]


def monotonic_deadline(seconds: float) -> float:
    return time.monotonic() + seconds
