"""What went wrong, in words and as an exit code."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rivet.client import ApiProblem

OK, FAILED, USAGE, UNREACHABLE, CANCELLED, ERRORED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_OF_STATUS = {"passed": OK, "failed": FAILED, "timed_out": FAILED, "cancelled": CANCELLED, "errored": ERRORED}


class Failed(click.ClickException):
    """The command ends here, with this message and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


def exit_code_of(status: str) -> int:
    """The exit code that stands for how a run ended."""
    return _OF_STATUS.get(status, ERRORED)


def in_words(error: Exception) -> tuple[str, int]:
    """One message for people, and the exit code that goes with it."""
    # Commands that speak to no server do without the client, which takes long to load.
    from rivet.client import ApiProblem, ApiUnreachable

    if isinstance(error, ApiUnreachable):
        return (
            f"{error}. Is it up? `rivet up` starts one on this machine; RIVET_URL names another.",
            UNREACHABLE,
        )
    if isinstance(error, ApiProblem):
        return _of_problem(error)
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        return _of_settings(error), USAGE
    if type(error).__name__ == "TOMLDecodeError":
        return f"rivet.toml cannot be read: {error}", USAGE
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}", USAGE
    code = getattr(error, "code", None)
    if isinstance(code, str) and hasattr(error, "message"):
        return str(error), UNREACHABLE if code == "unavailable" else USAGE
    return f"a defect of Rivet: {type(error).__name__}: {error}. Please report it with what you did.", ERRORED


def findings_of(problem: "ApiProblem", file: str) -> list[str]:
    """The findings of `invalid_pipeline`, a line each as `file:line:column: severity[code]: message`."""
    found = problem.extra.get("findings") or ()
    return [
        f"{file}:{one.get('line', 1)}:{one.get('column', 1)}: "
        f"{one.get('severity', 'error')}[{one.get('code', 'error')}]: {one.get('message', '')}"
        for one in found
        if isinstance(one, dict)
    ]


def _of_problem(problem: "ApiProblem") -> tuple[str, int]:
    if problem.status == 401:
        return (
            f"{problem.detail} (RIVET_TOKEN says as whom; `rivet status` names the local token's file)",
            UNREACHABLE,
        )
    if problem.status == 403:
        return problem.detail, UNREACHABLE
    if problem.status >= 500 or problem.status == 429:
        return f"{problem.detail} ({problem.code})", UNREACHABLE
    lines = findings_of(problem, str(problem.extra.get("file", "pipeline")))
    return "\n".join((problem.detail, *lines)), USAGE


def _of_settings(error: Exception) -> str:
    """A setting of the environment or rivet.toml that cannot be."""
    lines = []
    for one in error.errors():  # type: ignore[attr-defined]
        name = "RIVET_" + "_".join(str(part) for part in one["loc"]).upper()
        lines.append(f"{name}: {one['msg']}; given was {one.get('input')!r}")
    return "\n".join(lines)
