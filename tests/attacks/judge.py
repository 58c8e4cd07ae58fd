"""What must hold after every case, whatever its outcome, and what does not hold after this one."""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .canaries import Canaries
from .cases import Case
from .outcome import Told

ORPHAN_WAIT_S = 1.0
OVERTIME_S = 10.0
FORGED = "forge-host-protocol"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]")
"""Controls of C0 and C1, and bytes that are no UTF-8; tab and line feed are what a log is made of."""
_PLANTED = "/tmp/pwned*"


@dataclass(slots=True)
class Verdict:
    """`held`, `breached`, `invalid` or `not applicable`, and why."""

    case: Case
    outcome: str
    milliseconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    invalid: str = ""
    inapplicable: str = ""
    note: str = ""

    @property
    def word(self) -> str:
        if self.inapplicable:
            return "not applicable"
        if self.findings:
            return "breached"
        return "invalid" if self.invalid else "held"

    @property
    def why(self) -> str:
        return self.inapplicable or "; ".join(self.findings) or self.invalid or self.note


def judge_told(
    case: Case, told: Told, canaries: Canaries, seconds: float, overtime_s: float = OVERTIME_S
) -> Verdict:
    """What a run told about itself. `seconds` is the time that it was allowed; over `overtime_s` more is too much."""
    verdict = Verdict(case, told.outcome, told.milliseconds, invalid=told.is_invalid)
    if told.outcome not in case.expect:
        verdict.findings.append(f"ended {told.outcome}, not {' or '.join(sorted(case.expect))}: {told.message[:300]}")
    if case.name.startswith(FORGED) and told.outcome == "safe":
        verdict.findings.append("what a process wrote was taken for the end of its stage")
    said = [line.text for line in told.lines if line.stream == "log" and "PWNED" in line.text]
    if said:
        verdict.findings.append(f"it says: {said[0][:200]}" + (f" (and {len(said) - 1} more)" if said[1:] else ""))
    texts = "\n".join(line.text for line in told.lines).encode("utf-8", "surrogateescape")
    leaks = canaries.found_in(told.raw_log) + canaries.found_in(texts)
    for stored in told.stored:
        leaks += canaries.found_in(stored)
    verdict.findings += [f"leaked: {leak}" for leak in dict.fromkeys(leaks)]
    stored_text = told.raw_log.decode("utf-8", "surrogateescape")
    if raw := _CONTROL.search(stored_text):
        around = stored_text[max(0, raw.start() - 20) : raw.end() + 20]
        verdict.findings.append(f"raw control bytes are stored in the log: {around!r}")
    if told.milliseconds > (seconds + overtime_s) * 1000:
        verdict.findings.append(f"it took {told.milliseconds / 1000:.1f} s, and {seconds:g} s were allowed")
    return verdict


def judge_host(mentions: Iterable[str] = ()) -> list[str]:
    """What a case left on the host: files, and processes named so, at most those that `mentions` has.

    Files are removed when they have been told of, so that the next case does not answer for them.
    """
    findings = []
    for path in glob.glob(_PLANTED):
        findings.append(f"{path} was made on the host")
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    names = set(mentions)
    deadline = time.monotonic() + ORPHAN_WAIT_S
    left = orphans()
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = orphans()
    findings += [f"a process named {name} is alive" for name in sorted(left) if not names or name in names]
    return findings


def orphans() -> set[str]:
    """Names that begin with RIVETORPHAN, of processes of this machine by their first argument or their name."""
    found: set[str] = set()
    for folder in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError), open(f"{folder}/cmdline", "rb") as line, open(f"{folder}/comm", "rb") as comm:
            for part in (line.read(4096).split(b"\0")[0], comm.read(64)):
                name = part.strip().rsplit(b"/")[-1].decode(errors="replace")
                if name.startswith("RIVETORPHAN"):
                    found.add(name)
    return found


def state_of(folder: Path) -> str:
    """A digest of all that is in a folder: names, kinds, modes, owners and contents."""
    digest = hashlib.sha256()
    for at, folders, files in sorted(os.walk(folder)):
        for name in sorted((".", *folders, *files)):
            path = Path(at) / name
            with contextlib.suppress(FileNotFoundError):
                told = path.lstat()
                digest.update(repr((str(path), told.st_mode, told.st_uid, told.st_size)).encode())
                if path.is_file() and not path.is_symlink():
                    digest.update(path.read_bytes())
    return digest.hexdigest()


def orphans_of(case: Case) -> set[str]:
    """Names of that kind that a case's own text has."""
    return set(re.findall(r"RIVETORPHAN\w*", case.lua))


def worker_findings(before: object, after: object, is_prompt: Callable[[], bool]) -> list[str]:
    """Whether the workers are still those of before, and take work."""
    if before != after:
        return ["a process of the runner died"]
    return [] if is_prompt() else ["the runner does not take work any more"]
