"""Start a pretended host for one case and one control, shut in so that nothing of it reaches this machine."""

import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from rivet.sandbox.isolation.bubblewrap import find_bubblewrap

from ..cases import Case
from ..judge import OVERTIME_S
from ..target import ORDINARY, ROOT
from .weaknesses import Weakness

_numbers = itertools.count()
"""A user for each: what processes it has counts against nobody else's limit."""
PROCESSES, MEMORY, TMP = 400, 2 << 30, 256 << 20
_SLACK_S = 30.0


def caught(case: Case, control: Weakness, seconds: float) -> list[str]:
    """What the checks saw of this case with this control; empty if it was not caught."""
    given = {"name": case.name, "expect": sorted(case.expect), "lua": case.lua}
    command = [
        *_as_ordinary(), str(find_bubblewrap().executable), "--unshare-user", "--unshare-pid", "--unshare-net",
        "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev",
        "--proc", "/proc", "--size", str(TMP), "--tmpfs", "/tmp", *_seen(), "--size", "1048576", "--tmpfs", "/var/tmp",
        "--size", "1048576", "--tmpfs", "/run", "--chdir", str(ROOT), "--clearenv",
        "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8",
        "--setenv", "PYTHONDONTWRITEBYTECODE", "1", "--",
        sys.executable, "-m", "tests.attacks.controls.pretended_host", control.name, str(seconds),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, input=json.dumps(given), capture_output=True, text=True, errors="replace",
            timeout=seconds + OVERTIME_S + _SLACK_S, cwd=ROOT, preexec_fn=_bound, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ["the pretended host did not end"]
    try:
        return list(json.loads(done.stdout.splitlines()[-1])["findings"])
    except (IndexError, ValueError, KeyError):
        pass
    if not 0 <= done.returncode <= 128:
        return ["the pretended host was killed"]
    raise RuntimeError(f"the pretended host for {case.name} with {control.name} failed: {done.stderr[-2000:]}")


def _as_ordinary() -> list[str]:
    """Root plays it as somebody else: who is root on a pretended host would be too strong for it."""
    if os.geteuid() != 0:
        return []
    asked = {"uid": ORDINARY + 1 + next(_numbers) % 100, "over": {}, "show": sorted({sys.prefix, sys.base_prefix, str(ROOT)})}
    return [sys.executable, str(Path(__file__).parent.parent / "private_view.py"), json.dumps(asked)]


def _seen() -> list[str]:
    """What lies beneath the /tmp that is covered, and is needed."""
    needed = [Path(each) for each in sorted({sys.prefix, sys.base_prefix, str(ROOT)})]
    hidden = [str(each) for each in needed if each.is_relative_to("/tmp")]
    return [part for each in hidden for part in ("--ro-bind", each, each)]


def _bound() -> None:
    for limit, most in ((resource.RLIMIT_NPROC, PROCESSES), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
