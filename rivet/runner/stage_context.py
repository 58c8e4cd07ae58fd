"""What a stage's module calls act on: its log, its values, and its room, opened when first needed."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rivet.domain.annotation import MOST_OF_AN_ATTEMPT, Annotation
from rivet.domain.inputs import as_texts
from rivet.domain.limits import OverLimit
from rivet.domain.order import Order, OrderedStage
from rivet.domain.record import RecordType
from rivet.domain.secret import Opaque
from rivet.domain.states import Reason
from rivet.modules.contract import CallError, Process
from rivet.runner.artifacts import StageArtifacts
from rivet.runner.cache import StageCaches
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.git import GitFailed, fetch_git
from rivet.runner.journal import Journal
from rivet.runner.kept_output import Kept
from rivet.runner.log_writer import LogWriter
from rivet.runner.reach import ProxyRules
from rivet.runner.reports import StageReports
from rivet.runner.room import (
    WATCHED,
    CannotStart,
    Ended,
    Room,
    RoomAhead,
    RoomLost,
    RoomOver,
    RoomSpec,
)
from rivet.runner.room_command import Output
from rivet.runner.room_expected import ExpectedRooms
from rivet.runner.room_files import RoomFiles
from rivet.runner.secrets import StageSecrets
from rivet.runner.stage_background import StageBackground
from rivet.runner.stage_bench import StageBench
from rivet.runner.stage_files import StageFiles
from rivet.runner.stage_git import run_git
from rivet.runner.stage_groups import StageGroups
from rivet.runner.stage_web import StageWeb

GRACE_S = 10.0
PAUSE_LOOK_S = 0.05

_expected = ExpectedRooms()


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
        ask_ahead: Callable[[], None],
        outputs: Mapping[str, Any],
    ) -> None:
        self._order, self._stage, self._attempt = order, stage, attempt
        self._desk, self._folder, self._journal, self._log = desk, folder, journal, log
        self._stopped_by_others, self._assure, self._ask_ahead = stopped, assure, ask_ahead
        self._room: Room | None = None
        self._ahead: RoomAhead | None = None
        self._guard = threading.Lock()
        self._annotated = 0
        self.limits = desk.limits.lowered(order.limits)
        self.in_process = False
        self.env: Mapping[str, str] = variables(order, stage)
        self.inputs: Mapping[str, Any] = order.inputs
        self.outputs: dict[str, Any] = dict(outputs)
        self.new_outputs: dict[str, Any] = {}
        self.output_lists = order.output_lists
        self.facts: Mapping[str, Any] = order.facts
        self.bench = StageBench(self.run_program, self.tell, lambda: self._opened().layout)
        self.artifacts = StageArtifacts(order, stage.key, attempt, desk.client, self.bench, self._go_on)
        self.caches = StageCaches(order, desk.client, self.bench, self._go_on)
        self.reports = StageReports(self._record, journal.masker.mask_value)
        self.secrets = StageSecrets(order, stage.key, desk, folder, journal.masker, self.tell, self._go_on)
        self.web = StageWeb(
            order.grants.hosts, desk.reach, self.secrets.joined, journal.masker.mask, self.tell, self._go_on
        )
        self.background = StageBackground(self, log)
        self._groups = StageGroups(log)

    def say(self, level: str, text: str) -> None:
        self._log.say(level, text)

    def tell(self, level: str, text: str) -> None:
        """Say what is Rivet's own, not the script's."""
        self._log.say(level, text, stream="rivet")

    def begin_group(self, name: str) -> int:
        return self._groups.begin(name)

    def end_group(self, number: int) -> None:
        self._groups.end(number)

    def set_output(self, name: str, value: Any) -> None:
        name, value = self._journal.masker.mask_value([name, value])
        self.outputs[name] = self.new_outputs[name] = value
        self._record(RecordType.OUTPUT, {"name": name, "value": value})

    def set_summary(self, markdown: str) -> None:
        markdown = self._journal.masker.mask_text(markdown)
        self._record(RecordType.SUMMARY, {"markdown": markdown.replace("\0", "")})

    def annotate(self, annotation: Annotation) -> None:
        self._log.say(annotation.level, str(annotation))
        if self._annotated < MOST_OF_AN_ATTEMPT:
            self._annotated += 1
            told = self._journal.masker.mask_value(annotation).as_dict()
            plain = {name: text.replace("\0", "") if isinstance(text, str) else text
                     for name, text in told.items()}  # fmt: skip
            self._record(RecordType.ANNOTATION, plain)

    def secret(self, name: str) -> Opaque:
        return self.secrets.get(name)

    def _record(self, type: RecordType, data: Mapping[str, Any], body: bytes = b"") -> None:
        self._journal.record(type, stage=self._stage.key, attempt=self._attempt, data=data, body=body)

    def run_process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | Opaque],
        cwd: str,
        stdin: bytes | Opaque | None,
        timeout_s: float | None,
        capture: bool,
        quiet: bool = False,
    ) -> Process:
        self._go_on()
        kept = Kept(capture)

        def take(stream: str, data: bytes) -> None:
            kept.keep(stream, data if quiet else self._log.take(stream, data))

        self.in_process = True
        room = self._opened()
        try:
            self._assure()
            self._go_on()
            variables, given = self.prepared("process.run", env, stdin)
            ended = room.run(
                list(argv),
                env=variables,
                cwd=cwd,
                stdin=given,
                timeout_s=timeout_s,
                on_output=take,
                stop=self._stopped,
                grace_s=GRACE_S,
            )
        except CannotStart as error:
            raise CallError(f"process.run: {error}") from None
        finally:
            self.in_process = False
            for stream, data in self._log.finish().items():
                kept.keep(stream, data)
        self._go_on()
        if ended.ended_by == "timeout":
            raise CallError(
                f'process.run: command "{argv[0]}" was stopped after its timeout of {timeout_s:g} s'
            )
        return Process(
            ended.exit_code,
            kept.captured("stdout"),
            kept.captured("stderr"),
            ended.seconds,
            last := kept.last_lines(),
            room.hint(last) if ended.exit_code != 0 else "",
        )

    def fetch_git(
        self,
        url: str,
        ref: str | None,
        commit: str | None,
        depth: int,
        path: str,
        *,
        submodules: bool,
        token: str | Opaque | None,
    ) -> str:
        self._go_on()
        given = token.encode() if isinstance(token, str) else token
        plain = self.secrets.joined(given) if isinstance(given, Opaque) else given
        if plain:
            # One that is no secret of the project, but got in some other way, is not to be told either.
            self._journal.masker.add(plain)
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
                submodules=submodules,
                token=plain,
            )
        except GitFailed as error:
            raise CallError(str(error)) from None
        finally:
            self.in_process = False
            self._log.finish()
            self._go_on()

    def run_git(self, title: str, path: str, arguments: Sequence[str]) -> bytes:
        self._go_on()
        with self.working():
            said = run_git(title, path, arguments, self._opened(), self._stopped)
        self._go_on()
        return self._journal.masker.mask(said)

    def run_program(
        self, argv: Sequence[str], *, on_output: Output, stdin: int | None = None
    ) -> Ended:
        """Run a program of ours in the room to its end; `stdin` is what it reads, and stays the caller's."""
        self._go_on()
        self.in_process = True
        try:
            ended = self._opened().run(
                argv, env={}, stdin=stdin, on_output=on_output, stop=self._stopped, grace_s=1.0
            )
        except CannotStart as error:
            raise CallError(f"Rivet's own program: {error}") from None
        finally:
            self.in_process = False
        self._go_on()
        return ended

    def files(self, title: str) -> StageFiles:
        self._go_on()
        files = RoomFiles(self._opened(), self._stopped)
        return StageFiles(files, title, self._go_on, self._journal.masker.mask)

    def pause(self, seconds: float) -> None:
        until = monotonic_deadline(seconds)
        while (left := until - time.monotonic()) > 0:
            self._go_on()
            time.sleep(min(left, PAUSE_LOOK_S))
        self._go_on()

    def _go_on(self) -> None:
        reason = self._stopped()
        if reason is not None:
            raise Stopped(reason)

    def prepared(
        self, title: str, env: Mapping[str, str | Opaque], stdin: bytes | Opaque | None
    ) -> tuple[dict[str, str], bytes | None]:
        """What a command gets as variables and standard input, secrets in their place. Raises CallError."""
        variables = self._process_env(self.secrets.in_variables(title, env))
        return variables, self.secrets.joined(stdin) if isinstance(stdin, Opaque) else stdin

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While processes are waited for: a stop then ends them, and the script when they have ended."""
        self.in_process = True
        try:
            yield
        finally:
            self.in_process = False

    def room(self) -> Room:
        return self._opened()

    def go_on(self) -> None:
        """Raises Stopped where the stage is to stop."""
        self._go_on()

    def assure(self) -> None:
        self._assure()

    def stopped(self) -> str | None:
        return self._stopped()

    def _stopped(self) -> str | None:
        return self._stopped_by_others() or ("over" if self.over is not None else None)

    @property
    def over(self) -> OverLimit | None:
        """The limit that it has gone over by what it said or sent."""
        return self._log.over or (self._room.over if self._room is not None else None)

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
            "RIVET_WORKSPACE": self._opened().layout.workspace,
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
            limits=self.limits,
            isolation=self._desk.isolation,
        )

    def expect_room(self) -> None:
        """Have a room made meanwhile, if this stage is likely to need one."""
        if _expected.includes(self._order, self._stage):
            self._ask_ahead()
            self._ahead = RoomAhead(self._spec(self._network()))

    def _opened(self) -> Room:
        if self._room is None:
            self._ask_ahead()
            _expected.note(self._order, self._stage)
            room = self._opened_ahead() or Room(self._spec(self._network()))
            with self._guard:
                self._room = room
            if room.lack:
                self.tell("warn", room.lack)
        return self._room

    def _opened_ahead(self) -> Room | None:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        if ahead.is_stale:
            ahead.close()
            return None
        return Room(ahead.spec, ahead)

    def _network(self) -> ProxyRules | None:
        grants = self._order.grants
        if not grants.network and not grants.network_hosts:
            return None
        return ProxyRules(reach=self._desk.reach, everything=grants.network, hosts=grants.network_hosts)

    def measure(self) -> None:
        """See that the room is within its limits, if there is one. Raises OverLimit and RoomLost."""
        if self._room is not None:
            try:
                self._room.measure()
            except RoomOver as over:
                raise self._over(over) from None

    @property
    def hinted(self) -> Reason | None:
        """The limit that the last command that failed seems to have run into."""
        return self._room.hinted if self._room is not None else None

    def why_lost(self, lost: RoomLost) -> RoomLost | OverLimit:
        """What ended the room: a limit, or what is not known better."""
        over = lost if isinstance(lost, RoomOver) else self._room.was_over() if self._room else None
        return lost if over is None else self._over(over)

    def _over(self, over: RoomOver) -> RoomLost | OverLimit:
        if over.name not in WATCHED:
            return over
        return OverLimit(over.name, getattr(self.limits, over.name), over.amount)

    def ping(self) -> None:
        with self._guard:
            if self._room is not None:
                self._room.ping()

    def close(self) -> None:
        """End everything in the room, whatever the script left running."""
        self.background.end()
        with self._guard:
            room, self._room = self._room, None
        if room is not None:
            room.close()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            _expected.forget(self._order, self._stage)
            ahead.close()
        self.background.finish()
        self._groups.end_all()


def variables(order: Order, stage: OrderedStage) -> dict[str, str]:
    """What `env` reads: parameters as text, then what pipeline and stage say."""
    return {**as_texts(order.inputs), **order.env, **stage.env}


def monotonic_deadline(seconds: float) -> float:
    return time.monotonic() + seconds
