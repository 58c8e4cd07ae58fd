"""What one stage may use up at most: the operator's maxima, which a pipeline can lower and never raise.

`BOUNDS` is the one list of them: the field in `limits`, the operator's setting, what is allowed there, and
the reason with which an attempt ends that goes over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from rivet.domain.states import Reason

KIB, MIB, GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit. `kind` says how it is written: bytes, a whole number, or seconds; `what` what it bounds."""

    kind: Literal["size", "count", "seconds"]
    least: int
    most: int
    setting: str
    reason: Reason
    what: str


BOUNDS: Mapping[str, Bound] = {
    "memory": Bound("size", 8 * MIB, GIB, "RIVET_MAX_LUA_MIB", Reason.LIMIT_MEMORY, "memory of its script"),
    "cpu": Bound("seconds", 1, 3600, "RIVET_MAX_LUA_CPU_SECONDS", Reason.LIMIT_CPU,
                 "processor time of its script"),
    "processes": Bound("count", 8, 1_000_000, "RIVET_MAX_PROCESSES", Reason.LIMIT_PROCESSES,
                       "processes and threads at once"),
    "process_memory": Bound("size", 16 * MIB, 2**50, "RIVET_MAX_PROCESS_MIB", Reason.LIMIT_PROCESS_MEMORY,
                            "memory of its processes together"),
    "open_files": Bound("count", 32, 1_000_000, "RIVET_MAX_OPEN_FILES", Reason.LIMIT_OPEN_FILES,
                        "open files of a process"),
    "workspace": Bound("size", MIB, 2**50, "RIVET_MAX_WORKSPACE_MIB", Reason.LIMIT_WORKSPACE,
                       "files in workspace and home"),
    "log_bytes": Bound("size", 64 * KIB, 2**40, "RIVET_MAX_LOG_MIB", Reason.LIMIT_OUTPUT, "output"),
    "log_lines": Bound("count", 10, 10**9, "RIVET_MAX_LOG_LINES", Reason.LIMIT_OUTPUT, "lines of output"),
    "frame": Bound("size", 64 * KIB, 64 * MIB, "RIVET_MAX_FRAME_KIB", Reason.LIMIT_FRAME,
                   "a value that goes into its script or out of it"),
    "calls": Bound("count", 10, 1_000_000, "RIVET_MAX_CALLS", Reason.LIMIT_CALLS,
                   "calls of modules a second"),
    "network": Bound("size", KIB, 2**50, "RIVET_MAX_NETWORK_MIB", Reason.LIMIT_NETWORK,
                     "bytes that its processes send and receive"),
}  # fmt: skip
"""By the field's name in `limits`; `least` and `most` are what a pipeline may write there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, numbers and seconds; the defaults are the operator's where no setting says otherwise."""

    memory: int = 64 * MIB
    cpu: float = 60.0
    processes: int = 1024
    process_memory: int = 4 * GIB
    open_files: int = 4096
    workspace: int = 10 * GIB
    log_bytes: int = GIB
    log_lines: int = 10_000_000
    frame: int = 8 * MIB
    calls: int = 100_000
    network: int = 100 * GIB

    def lowered(self, asked: Mapping[str, Any]) -> Self:
        """With what a pipeline asks for, where that is less."""
        return replace(self, **{
            name: min(getattr(self, name), asked[name]) for name in BOUNDS if name in asked
        })  # fmt: skip

    def not_granted(self, asked: Mapping[str, Any]) -> Iterator[str]:
        """A sentence for each limit that a pipeline asks to have higher than the operator has it."""
        for name, bound in BOUNDS.items():
            if asked.get(name, 0) > getattr(self, name):
                yield (
                    f"limits.{name}: {told(name, asked[name])} is more than this runner allows; it stays at "
                    f"{told(name, getattr(self, name))} ({bound.setting})"
                )


class OverLimit(Exception):
    """A stage went over one of its limits; the message says which, and who can allow more."""

    def __init__(self, name: str, allowed: float, used: float | None = None) -> None:
        bound = BOUNDS[name]
        how = "" if used is None else f", and it came to {told(name, used)}"
        super().__init__(
            f"the stage is over its limit of {told(name, allowed)} for {bound.what}{how}: limits.{name} in "
            f"the pipeline sets it, and the runner's operator its maximum ({bound.setting})"
        )
        self.reason = bound.reason


def told(name: str, value: float) -> str:
    """An amount as people write it: `64 MiB`, `10 s`, `1024`."""
    match BOUNDS[name].kind:
        case "size":
            units = (("GiB", GIB), ("MiB", MIB), ("KiB", KIB))
            unit, size = next((each for each in units if value >= each[1]), units[-1])
            return f"{round(value / size, 1):g} {unit}"
        case "seconds":
            return f"{value:g} s"
    return f"{value:g}" if value < 1_000_000 else str(int(value))
