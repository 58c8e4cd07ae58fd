"""git in a clone of the workspace, in the stage's own room: what is there already, and no network."""

import re
from collections.abc import Callable, Sequence

from rivet.modules.contract import CallError
from rivet.runner.git import HARDENED
from rivet.runner.room import CannotStart, Room

MOST_OUTPUT = 8 << 20
MOST_WAIT_S = 600.0
LAST_LINES = 5

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C.UTF-8",
}


def run_git(
    title: str, path: str, arguments: Sequence[str], room: Room, stop: Callable[[], str | None]
) -> bytes:
    """Standard output of a command of git that runs in `path`. Raises CallError, with git's last lines."""
    said = {"stdout": bytearray(), "stderr": bytearray()}

    def take(stream: str, data: bytes) -> None:
        said[stream] += data
        if len(said[stream]) > MOST_OUTPUT:
            raise CallError(f"{title}: git says more than {MOST_OUTPUT} bytes, too much for a script")

    try:
        ended = room.run(
            ["git", *HARDENED, *arguments], env=_ENVIRONMENT, on_output=take, cwd=path,
            timeout_s=MOST_WAIT_S, stop=stop,
        )  # fmt: skip
    except CannotStart as error:
        raise CallError(f"{title}: {error}") from None
    if ended.ended_by == "timeout":
        raise CallError(f"{title}: git {arguments[0]} took longer than {MOST_WAIT_S:g} s and was given up")
    if ended.exit_code != 0:
        raise CallError(_failure(title, path, arguments[0], said["stderr"].decode(errors="replace")))
    return bytes(said["stdout"])


def _failure(title: str, path: str, verb: str, errors: str) -> str:
    if re.search(r"not a git repository", errors):
        return f'{title}: path: "{path}" is in no clone; git.clone makes one'
    lines = [line for line in errors.splitlines() if line.strip()][-LAST_LINES:]
    return f"{title}: git {verb} failed: {' / '.join(lines) or 'it said nothing'}"
