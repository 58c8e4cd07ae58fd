"""Logs of API and control: every line with what it is about (request, run, job), as text or as JSON.

Modules log through `logging` as ever; structlog writes it, and adds what was said to be under way by `about`.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Literal

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars, merge_contextvars

_MOST_CHARACTERS = 128
_SECRET = re.compile(
    r"""
      rvt_[a-z]+_[A-Za-z0-9_-]+
    | (?<=://) [^/\s@"']* : [^/\s@"']* (?=@)
    | (?i: (?<=bearer\ ) [\w.~+/=-]+ )
    """,
    re.VERBOSE,
)
"""Tokens, and what an address has before its host. They are in no message of ours; others' may have them."""


def formatter(form: Literal["text", "json"]) -> logging.Formatter:
    """For any handler of `logging`: one line a record; in text, what has more lines goes on indented."""
    shared: list[Any] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        last += [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        last += [structlog.processors.format_exc_info, _as_text]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*last, _without_secrets])


def set_up_logs(form: Literal["text", "json"], level: str, *also: str) -> None:
    """Let this process log to standard error: from `level` on what is ours and of the loggers `also`.

    Of all others warnings alone: what libraries say in detail may hold what is secret.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for name in ("rivet", *also):
        logging.getLogger(name).setLevel(level.upper())


def about(**what: object) -> AbstractContextManager[None]:
    """Within it, each line of this thread says what it is about: `about(job=…)`."""
    return bound_contextvars(**{name: str(value)[:_MOST_CHARACTERS] for name, value in what.items()})


def now_about(**what: object) -> None:
    """From here on each line of this thread is about this, and no more about what was before."""
    clear_contextvars()
    bind_contextvars(**{name: str(value)[:_MOST_CHARACTERS] for name, value in what.items()})


def _as_text(_logger: Any, _name: str, entry: MutableMapping[str, Any]) -> str:
    at, level, logger = entry.pop("at"), entry.pop("level"), entry.pop("logger")
    message, trace = str(entry.pop("event")), entry.pop("exception", None)
    context = "".join(f" {name}={value!r}" for name, value in sorted(entry.items()))
    beneath = f"\n{trace}" if trace else ""
    # What begins a line is ours alone: no text of a stranger passes for another record.
    return f"{at} {level} {logger}: {message}{context}{beneath}".replace("\n", "\n    ")


def _without_secrets(_logger: Any, _name: str, line: Any) -> str:
    return _SECRET.sub("***", line)
