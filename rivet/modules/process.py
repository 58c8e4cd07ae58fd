"""The Lua module `process`."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rivet.domain.wording import shown
from rivet.modules.contract import (
    Call,
    CallError,
    Duration,
    Launch,
    Name,
    Opaque,
    Process,
    Ready,
    StageContext,
    Table,
    WorkspacePath,
    about,
)

MOST_CAPTURED = 1024 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class _Command:
    """What is said of a command that is to run."""

    command: str = about("the program: a name that is looked for in PATH, or a path", minimum=1, maximum=4096)
    args: list[str] = about("its arguments, one by one", default=(), maximum=100_000)
    cwd: WorkspacePath = about("folder of the workspace to run it in", default=".")
    env: dict[str, str | Opaque] = about(
        "variables besides those of pipeline and stage", default={}, maximum=1000
    )
    stdin: bytes | Opaque | None = about("what it reads from its standard input; else nothing", default=None)
    timeout: Duration | None = about("it is ended after this time, which is an error", default=None)
    check: bool = about("whether an exit code other than 0 is an error", default=True)
    capture: bool = about("whether its output comes back as well", default=False)


class Run(_Command, Call, module="process"):
    """Run a command in the workspace and wait until it ends. No shell reads it.

    Its output goes to the log. What comes back is a table of `exit_code`, `stdout`, `stderr` and `seconds`;
    the two outputs are in it with `capture`, at most 1 MiB of each.
    """

    example = 'process.run({ command = "pytest", args = { "tests/" } })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        check_variables("process.run: env", self.env)
        argv = [self.command, *self.args]
        ended = stage.run_process(
            argv,
            env=self.env,
            cwd=self.cwd,
            stdin=self.stdin,
            timeout_s=self.timeout,
            capture=self.capture,
        )
        return result("process.run", argv, ended, check=self.check, capture=self.capture)


class ReadyWhen(Table):
    """One of `port`, `log` and `command`."""

    port: int | None = about("it listens at this port of localhost", default=None, minimum=1, maximum=65535)
    log: str | None = about("a line of its output holds this text", default=None, minimum=1, maximum=1000)
    command: list[str] | str | None = about(
        "this program, with its arguments, ends with exit code 0; it is tried again and again",
        default=None, minimum=1, maximum=1000,
    )  # fmt: skip
    timeout: Duration = about("how long it may take; then it is ended, which is an error", default=60.0)


class Start(_Command, Call, module="process", handle=True):
    """Start a command that runs beside the script, and wait until it is ready if `ready` says when.

    It ends with the stage at the latest. A handle comes back: `h:wait()`, `h:stop()`, `h:running()`.
    """

    ready: ReadyWhen | None = about("how it is known to be ready; else it is at once", default=None)

    example = (
        'local h = process.start({ command = "redis-server", args = { "--port", "6380" }, '
        "ready = { port = 6380 } })"
    )

    def act(self, stage: StageContext) -> int:
        check_variables("process.start: env", self.env)
        argv = [self.command, *self.args]
        ready = _ready(self.ready) if self.ready is not None else None
        return stage.background.start(
            Launch(argv, self.env, self.cwd, self.stdin, self.timeout, self.capture, self.check, ready)
        )


class Wait(Call, module="process", of="start", short=("timeout",)):
    """Wait until the command has ended. What comes back, and what is an error, is as with `process.run`."""

    timeout: Duration | None = about("how long; if it runs on after that, it is an error", default=None)
    example = "local result = h:wait()"

    def act(self, stage: StageContext) -> dict[str, Any]:
        launch = stage.background.launched(self.handle)
        ended = stage.background.wait(self.handle, self.timeout)
        check = launch.check and not ended.was_stopped
        return result(self.title(), launch.argv, ended, check=check, capture=launch.capture)


class Stop(Call, module="process", of="start"):
    """End the command, and what it started: politely, after 10 s by force. It is never an error."""

    example = "h:stop()"

    def act(self, stage: StageContext) -> dict[str, Any]:
        launch = stage.background.launched(self.handle)
        ended = stage.background.stop(self.handle)
        return result(self.title(), launch.argv, ended, check=False, capture=launch.capture)


class Running(Call, module="process", of="start"):
    """Whether the command has not ended yet."""

    example = 'if not h:running() then error("the server is gone") end'

    def act(self, stage: StageContext) -> bool:
        return stage.background.is_running(self.handle)


class Which(Call, module="process", short=("name",)):
    """Where a command is found that stages may run; nil if nowhere."""

    name: Name = about("the command")

    example = 'if process.which("docker") then log.info("there is docker") end'

    def act(self, stage: StageContext) -> str | None:
        ended = stage.run_process(
            ["/bin/sh", "-c", 'command -v -- "$1"', "sh", self.name],
            env={},
            cwd=".",
            stdin=None,
            timeout_s=30,
            capture=True,
            quiet=True,
        )
        found = ended.stdout.decode(errors="replace").strip()
        return found if ended.exit_code == 0 and found.startswith("/") else None


def check_variables(where: str, env: Mapping[str, str | Opaque]) -> None:
    """Refuse names that are none, and those that are not a stage's to set. Raises CallError."""
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            raise CallError(
                f"{where}: expected names of letters, digits and underscores, given {shown(name)}"
            )
        if name == "PATH":
            raise CallError(f"{where}: PATH cannot be set; PATH_PREPEND puts folders before it")
        if name.startswith(("LD_", "RIVET_")):
            raise CallError(f"{where}: {name} cannot be set: LD_* and RIVET_* are not a stage's to choose")
        if isinstance(value, str) and "\0" in value:
            raise CallError(f"{where}: {name}: a variable cannot hold a NUL character")


def result(title: str, argv: Sequence[str], ended: Process, *, check: bool, capture: bool) -> dict[str, Any]:
    """What a script is told of a command that ended. Raises CallError where that is to be an error."""
    if check and ended.exit_code != 0:
        raise CallError(failure(title, argv, ended), exit_code=ended.exit_code)
    told: dict[str, Any] = {"exit_code": ended.exit_code, "seconds": ended.seconds}
    if capture:
        told["stdout"] = ended.stdout[:MOST_CAPTURED]
        told["stderr"] = ended.stderr[:MOST_CAPTURED]
    return told


def failure(title: str, argv: Sequence[str], ended: Process) -> str:
    """The message of a command that ended with another exit code than 0."""
    line = shlex.join(argv)
    line = line if len(line) <= 200 else line[:197] + "..."
    said = "Last lines: " + " / ".join(ended.tail) if ended.tail else "It wrote nothing."
    how = f"ended with exit code {ended.exit_code} after {ended.seconds:.1f} s"
    return f'{title}: command "{line}" {how}. {said}' + (f". {ended.hint}" if ended.hint else "")


def _ready(when: ReadyWhen) -> Ready:
    given = [name for name in ("port", "log", "command") if getattr(when, name) is not None]
    if len(given) != 1:
        told = " and ".join(given) or "none of them"
        raise CallError(f"process.start: ready: expected one of port, log and command, given {told}")
    command = [when.command] if isinstance(when.command, str) else when.command
    return Ready(when.timeout, when.port, when.log, command)
