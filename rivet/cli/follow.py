"""Follow a run: a header for each stage, its lines as they come, how it ended, and the error last."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import click

from rivet.cli.ask_interrupted import Answer, ask_interrupted, held_interrupts
from rivet.cli.board import Board
from rivet.cli.failures import INTERRUPTED, exit_code_of
from rivet.cli.live import LiveScreen, Look, PlainScreen, Screen, may_be_live
from rivet.cli.log_filter import Wanted
from rivet.cli.show import paint, state
from rivet.cli.text import duration, harmless, raw, shown
from rivet.client import Client

_LEVELS = {"error": "red", "warn": "yellow", "debug": "bright_black"}


@dataclass
class Follower:
    """Prints the events of one run. `name` is how it is called, `pipeline#12`; `wanted` are its lines."""

    client: Client
    run: Mapping[str, Any]
    name: str
    quiet: bool = False
    as_json: bool = False
    as_bytes: bool = False
    wanted: Wanted = field(default_factory=Wanted)
    position: str = ""
    _stage: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        self.run_id = str(self.run["id"])
        self._board = Board(self.name)
        self._board.renew(self.run)
        self._screen: Screen = PlainScreen()

    def follow(self) -> Mapping[str, Any]:
        """Print until the run's end, and return the run. Raises ApiUnreachable, ApiProblem."""
        ended: Mapping[str, Any] = {}
        with ExitStack() as stack:
            bare = self.quiet or self.as_json or self.as_bytes
            is_live = not bare and may_be_live()
            self._screen = LiveScreen(self._board) if is_live else PlainScreen()
            stack.enter_context(self._screen)
            if not bare:
                look = Look(self.client, self.run_id, self._board, self._screen, tells=not is_live)
                stack.enter_context(look)
            for event in self.client.events(self.run_id, self.position, told=self._screen.note):
                # An event that has begun to be printed is printed whole, and is not asked for again.
                with held_interrupts():
                    self.position = event.id
                    self._print(event.id, event.type, event.data)
                if event.type == "end":
                    ended = event.data
        run = ended.get("run")
        whole = run if isinstance(run, Mapping) and "stages" in run else None
        answer = whole or self.client.call("GET", f"/runs/{self.run_id}")
        return answer if isinstance(answer, Mapping) else {}

    def _print(self, id: str, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "log":
            lines = self.wanted.of(data)
            data = {**data, "lines": lines}
            if not lines and not self.wanted.is_all:
                return
        if self.as_json:
            self._screen.write(json.dumps({"id": id, "event": kind, "data": data}) + "\n")
        elif kind == "log":
            self._log(data)
        elif kind == "state" and not self.as_bytes:
            self._board.hear(data)
            self._state(data)

    def _log(self, data: Mapping[str, Any]) -> None:
        lines = data.get("lines") or ()
        if self.as_bytes:
            sys.stdout.buffer.write(b"".join(raw(str(line.get("text", ""))) + b"\n" for line in lines))
            sys.stdout.buffer.flush()
            return
        told = self._header(str(data.get("stage", "")), int(data.get("attempt") or 1))
        for line in lines:
            text = shown(str(line.get("text", "")))
            told.append("  | " + paint(text, _LEVELS.get(str(line.get("level")))))
        self._say(*told)

    def _state(self, data: Mapping[str, Any]) -> None:
        """Only what a person waits for: a stage begins, a stage ends, a job is lost and begun again."""
        if self.quiet or not self.wanted.has(data):
            return
        status, reason = str(data.get("status", "")), because(data)
        if "stage" in data:
            stage, attempt = str(data["stage"]), int(data.get("attempt") or 1)
            if status == "running":
                self._say(*self._header(stage, attempt))
            elif status == "waiting":
                self._asks(stage, data)
            elif data.get("approved_by"):
                self._say(f"  approved {self._called(stage)} by {harmless(str(data['approved_by']))}")
            else:
                about = f" {self._called(stage)}" if self._stage != (stage, attempt) else ""
                self._say(f"  {state(status)}{about}{reason}")
        elif "run" in data and status == "cancelling":
            self._say(f"{state(status)}{reason} {harmless(str(data.get('actor') or ''))}".rstrip())
        elif "job" in data and (status == "lost" or int(data.get("epoch") or 1) > 1):
            self._say(f"{state(status)}{reason}: the job, begun {data.get('epoch')} times so far")

    def _asks(self, stage: str, data: Mapping[str, Any]) -> None:
        """What a stage waits for a person for, and how to answer."""
        asked = harmless(str(data.get("message") or ""))
        self._say(
            f"  {state('waiting')} {self._called(stage)}{f': {asked}' if asked else ''}",
            f"    rivet runs approve {self.name} --stage {stage}   (or reject)",
        )

    def _header(self, stage: str, attempt: int) -> list[str]:
        if self._stage == (stage, attempt) or self.quiet:
            return []
        self._stage = (stage, attempt)
        again = f"  attempt {attempt}" if attempt > 1 else ""
        return [paint(f"== {self._called(stage)}{again}", bold=True)]

    def _say(self, *lines: str) -> None:
        if lines:
            self._screen.write("".join(f"{line}\n" for line in lines))

    def _called(self, stage: str) -> str:
        row = self._board.rows.get(stage)
        return harmless(row.name if row is not None else stage)


def because(data: Mapping[str, Any]) -> str:
    """Why a thing stands as it does, in brackets: the reason, and by whom a run was cancelled."""
    if not data.get("reason"):
        return ""
    by = data.get("cancelled_by") if data["reason"] == "cancelled_by" else None
    return f" ({data['reason']} {harmless(str(by))})" if by else f" ({data['reason']})"


def follow_to_the_end(follower: Follower, ask: Callable[[], Answer] = ask_interrupted) -> int:
    """Follow, and return the exit code. On a terminal Ctrl-C asks what to do; elsewhere it detaches.

    A second Ctrl-C, while it asks or after the run was to be cancelled, ends the command at once.
    """
    cancels = False
    while True:
        try:
            run = follower.follow()
        except KeyboardInterrupt:
            answer = Answer.LEAVE if cancels else ask()
            if answer is Answer.GO_ON:
                continue
            if answer is Answer.CANCEL:
                follower.client.call("POST", f"/runs/{follower.run_id}/cancel", {})
                click.echo("cancelling; following it to its end", err=True)
                cancels = True
                continue
            _tell_left(follower.name, cancels=cancels)
            return INTERRUPTED
        if not (follower.as_json or follower.as_bytes):
            conclude(run, follower.name, quiet=follower.quiet)
        return exit_code_of(str(run.get("status", "")))


def _tell_left(name: str, *, cancels: bool) -> None:
    goes_on = "it is being cancelled" if cancels else "the run goes on"
    end = "" if cancels else f"; `rivet runs cancel {name}` ends it"
    click.echo(
        f"\nrivet: no longer following; {goes_on}. Follow it again with `rivet runs watch {name}`{end}.",
        err=True,
    )


def conclude(run: Mapping[str, Any], name: str, *, quiet: bool) -> None:
    """How the run ended: each stage with its time, what went wrong, where to look next."""
    status = str(run.get("status", ""))
    took = duration(run.get("started_at"), run.get("ended_at"))
    reason = because(run)
    if quiet:
        click.echo(f"{name} {status}")
        return
    click.echo("")
    for line in stage_lines(run):
        click.echo(line)
    click.echo(f"{state(status)} {paint(name, bold=True)}{reason}{f' in {took}' if took else ''}")
    sys.stdout.flush()
    click.echo(f"Look next: rivet runs show {name}   rivet runs logs {name}", err=True)
    errors = errors_of(run)
    if errors:
        click.echo("")
    for error in errors:
        click.echo(paint(error, "red"))


def stage_lines(run: Mapping[str, Any]) -> list[str]:
    """One line a stage: its state, name, duration and reason."""
    stages = list(run.get("stages") or ())
    widest = max((len(str(stage.get("name", ""))) for stage in stages), default=0)
    lines = []
    for stage in stages:
        attempts = stage.get("attempts") or ()
        took = duration(attempts[0].get("started_at"), attempts[-1].get("ended_at")) if attempts else ""
        tries = f"  {len(attempts)} attempts" if len(attempts) > 1 else ""
        reason = f"  ({stage['reason']}{_ran_in(stage)})" if stage.get("reason") else ""
        status = str(stage.get("status", ""))
        name = harmless(str(stage.get("name", ""))).ljust(widest)
        lines.append(f"  {state(status, status.ljust(9))} {name}  {took}{tries}{reason}".rstrip())
    return lines


def _ran_in(stage: Mapping[str, Any]) -> str:
    """Of a stage that stands in a rerun: the number of the run in which it ran, as far as it is there."""
    origin = stage.get("from_run")
    if not isinstance(origin, Mapping):
        return ""
    return f" #{origin['number']}" if origin.get("number") else ", deleted"


def errors_of(run: Mapping[str, Any]) -> list[str]:
    """What went wrong in the stages that did not pass, with the place in the pipeline's file."""
    found = []
    for stage in run.get("stages") or ():
        attempts = stage.get("attempts") or ()
        error = attempts[-1].get("error") if attempts else None
        if stage.get("status") in ("passed", "skipped") or not isinstance(error, Mapping):
            continue
        place = ""
        if error.get("file"):
            place = f"{error['file']}:{error['line']}: " if error.get("line") else f"{error['file']}: "
        lines = shown_lines(str(error.get("message", "")))
        found.append(f"{harmless(str(stage.get('name', '')))}: {place}{lines}")
    return found


def shown_lines(text: str) -> str:
    """Several encoded lines as a terminal may show them."""
    return "\n".join(shown(line) for line in text.split("\n"))
