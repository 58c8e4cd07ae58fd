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
    Name,
    Process,
    StageContext,
    WorkspacePath,
    about,
)

MOST_CAPTURED = 1024 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Run(Call, module="process"):
    """Run a command in the workspace and wait until it ends. No shell reads it.

    Its output goes to the log. What comes back is a table of `exit_code`, `stdout`, `stderr` and `seconds`;
    the two outputs are in it with `capture`, at most 1 MiB of each.
    """

    command: str = about("the program: a name that is looked for in PATH, or a path", minimum=1, maximum=4096)
    args: list[str] = about("its arguments, one by one", default=(), maximum=100_000)
    cwd: WorkspacePath = about("folder of the workspace to run it in", default=".")
    env: dict[str, str] = about("variables besides those of pipeline and stage", default={}, maximum=1000)
    stdin: bytes | None = about("what it reads from its standard input; else nothing", default=None)
    timeout: Duration | None = about("it is ended after this time, which is an error", default=None)
    check: bool = about("whether an exit code other than 0 is an error", default=True)
    capture: bool = about("whether its output comes back as well", default=False)

    example = 'process.run({ command = "pytest", args = { "tests/" } })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        check_variables("process.run: env", self.env)
        ended = stage.run_process(
            [self.command, *self.args],
            env=self.env,
            cwd=self.cwd,
            stdin=self.stdin,
            timeout_s=self.timeout,
            capture=self.capture,
        )
        if self.check and ended.exit_code != 0:
            raise CallError(
                failure(self.command, self.args, ended),
                exit_code=ended.exit_code,
            )
        result: dict[str, Any] = {"exit_code": ended.exit_code, "seconds": ended.seconds}
        if self.capture:
            result["stdout"] = ended.stdout[:MOST_CAPTURED]
            result["stderr"] = ended.stderr[:MOST_CAPTURED]
        return result


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


def check_variables(where: str, env: Mapping[str, str]) -> None:
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
        if "\0" in value:
            raise CallError(f"{where}: {name}: a variable cannot hold a NUL character")


def failure(command: str, args: Sequence[str], ended: Process) -> str:
    """The message of a command that ended with another exit code than 0."""
    line = shlex.join([command, *args])
    line = line if len(line) <= 200 else line[:197] + "..."
    said = "Last lines: " + " / ".join(ended.tail) if ended.tail else "It wrote nothing."
    how = f"ended with exit code {ended.exit_code} after {ended.seconds:.1f} s"
    return f'process.run: command "{line}" {how}. {said}' + (f". {ended.hint}" if ended.hint else "")
