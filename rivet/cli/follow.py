"""Follow a run: a header for each stage, its lines as they come, how it ended, and the error last."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from rivet.cli.failures import INTERRUPTED, exit_code_of
from rivet.cli.show import paint, state
from rivet.cli.text import duration, harmless, shown
from rivet.client import Client

_LEVELS = {"error": "red", "warn": "yellow", "debug": "bright_black"}


@dataclass
class Follower:
    """Prints the events of one run. `name` is how it is called, `pipeline#12`; `names` are its stages'."""

    client: Client
    run_id: str
    name: str
    names: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = False
    as_json: bool = False
    position: str = ""
    _stage: tuple[str, int] | None = None

    def follow(self) -> Mapping[str, Any]:
        """Print until the run's end, and return the run. Raises ApiUnreachable, ApiProblem."""
        ended: Mapping[str, Any] = {}
        for event in self.client.events(self.run_id, self.position, told=_told):
            self.position = event.id
            if self.as_json:
                click.echo(json.dumps({"id": event.id, "event": event.type, "data": event.data}))
            elif event.type == "log":
                self._log(event.data)
            elif event.type == "state":
                self._state(event.data)
            if event.type == "end":
                ended = event.data
        run = ended.get("run")
        whole = run if isinstance(run, Mapping) and "stages" in run else None
        answer = whole or self.client.call("GET", f"/runs/{self.run_id}")
        return answer if isinstance(answer, Mapping) else {}

    def _log(self, data: Mapping[str, Any]) -> None:
        self._header(str(data.get("stage", "")), int(data.get("attempt") or 1))
        for line in data.get("lines") or ():
            text = shown(str(line.get("text", "")))
            click.echo("  | " + paint(text, _LEVELS.get(str(line.get("level")))))
        sys.stdout.flush()

    def _state(self, data: Mapping[str, Any]) -> None:
        """Only what a person waits for: a stage begins, a stage ends, a job is lost and begun again."""
        if self.quiet:
            return
        status, reason = str(data.get("status", "")), because(data)
        if "stage" in data:
            stage, attempt = str(data["stage"]), int(data.get("attempt") or 1)
            if status == "running":
                self._header(stage, attempt)
            elif status == "waiting":
                self._asks(stage, data)
            elif data.get("approved_by"):
                click.echo(f"  approved {self._called(stage)} by {harmless(str(data['approved_by']))}")
            else:
                about = f" {self._called(stage)}" if self._stage != (stage, attempt) else ""
                click.echo(f"  {state(status)}{about}{reason}")
        elif "run" in data and status == "cancelling":
            click.echo(f"{state(status)}{reason} {harmless(str(data.get('actor') or ''))}".rstrip())
        elif "job" in data and (status == "lost" or int(data.get("epoch") or 1) > 1):
            click.echo(f"{state(status)}{reason}: the job, begun {data.get('epoch')} times so far")
        sys.stdout.flush()

    def _asks(self, stage: str, data: Mapping[str, Any]) -> None:
        """What a stage waits for a person for, and how to answer."""
        asked = harmless(str(data.get("message") or ""))
        click.echo(f"  {state('waiting')} {self._called(stage)}{f': {asked}' if asked else ''}")
        click.echo(f"    rivet runs approve {self.name} --stage {stage}   (or reject)")

    def _header(self, stage: str, attempt: int) -> None:
        if self._stage == (stage, attempt) or self.quiet:
            return
        self._stage = (stage, attempt)
        again = f"  attempt {attempt}" if attempt > 1 else ""
        click.echo(paint(f"== {self._called(stage)}{again}", bold=True))

    def _called(self, stage: str) -> str:
        return harmless(self.names.get(stage, stage))


def because(data: Mapping[str, Any]) -> str:
    """Why a thing stands as it does, in brackets: the reason, and by whom a run was cancelled."""
    if not data.get("reason"):
        return ""
    by = data.get("cancelled_by") if data["reason"] == "cancelled_by" else None
    return f" ({data['reason']} {harmless(str(by))})" if by else f" ({data['reason']})"


def stage_names(run: Mapping[str, Any]) -> dict[str, str]:
    """What the stages of a run are called, by their keys."""
    return {str(stage["key"]): str(stage["name"]) for stage in run.get("stages") or ()}


def follow_to_the_end(follower: Follower) -> int:
    """Follow, and return the exit code. On a terminal Ctrl-C asks whether to cancel; else it detaches."""
    while True:
        try:
            run = follower.follow()
        except KeyboardInterrupt:
            if _cancel_wanted():
                follower.client.call("POST", f"/runs/{follower.run_id}/cancel", {})
                click.echo("cancelling; following it to its end", err=True)
                continue
            click.echo(
                "\nrivet: no longer following; the run goes on. Follow it again with "
                f"`rivet runs logs --follow {follower.name}`; `rivet runs cancel {follower.name}` ends it.",
                err=True,
            )
            return INTERRUPTED
        if not follower.as_json:
            conclude(run, follower.name, quiet=follower.quiet)
        return exit_code_of(str(run.get("status", "")))


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
    for error in errors_of(run):
        click.echo(paint(error, "red"))
    click.echo(f"Look next: rivet runs show {name}   rivet runs logs {name}", err=True)


def stage_lines(run: Mapping[str, Any]) -> list[str]:
    """One line a stage: its state, name, duration and reason."""
    stages = list(run.get("stages") or ())
    widest = max((len(str(stage.get("name", ""))) for stage in stages), default=0)
    lines = []
    for stage in stages:
        attempts = stage.get("attempts") or ()
        took = duration(attempts[0].get("started_at"), attempts[-1].get("ended_at")) if attempts else ""
        tries = f"  {len(attempts)} attempts" if len(attempts) > 1 else ""
        reason = f"  ({stage['reason']})" if stage.get("reason") else ""
        status = str(stage.get("status", ""))
        name = harmless(str(stage.get("name", ""))).ljust(widest)
        lines.append(f"  {state(status, status.ljust(9))} {name}  {took}{tries}{reason}".rstrip())
    return lines


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


def _told(what: str) -> None:
    click.echo(f"rivet: {what}", err=True)


def _cancel_wanted() -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        answer = click.prompt(
            "\nCancel the run, or detach and let it go on?",
            type=click.Choice(["cancel", "detach"]),
            default="detach",
            err=True,
        )
    except (click.exceptions.Abort, KeyboardInterrupt):
        return False
    return bool(answer == "cancel")
