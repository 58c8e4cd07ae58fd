"""What Ctrl-C means while a run is followed: on a terminal that is asked, elsewhere the run is left alone."""

import enum
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


class Answer(enum.Enum):
    """What is to become of the run that is followed, and of the following."""

    CANCEL = "cancel"
    DETACH = "detach"
    GO_ON = "go on"
    LEAVE = "leave"


def ask_interrupted() -> Answer:
    """On a terminal the person's choice; a further Ctrl-C there leaves at once. Elsewhere: detach."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return Answer.DETACH
    choices = [Answer.CANCEL, Answer.DETACH, Answer.GO_ON]
    listed = ", ".join(choice.value for choice in choices)
    try:
        given = click.prompt(
            f"\nThe run goes on. What now? ({listed})",
            value_proc=lambda text: _chosen(text, choices),
            default=Answer.DETACH.value,
            err=True,
        )
    except (click.exceptions.Abort, KeyboardInterrupt):
        return Answer.LEAVE
    return given if isinstance(given, Answer) else Answer.DETACH


def _chosen(text: str, choices: list[Answer]) -> Answer:
    """A choice by its first letters."""
    for choice in choices:
        if text.strip() and choice.value.startswith(text.strip().lower()):
            return choice
    raise click.BadParameter(f"expected one of {', '.join(choice.value for choice in choices)}")


@contextmanager
def held_interrupts() -> Iterator[None]:
    """A first Ctrl-C within is raised at the end; a second one at once."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    came = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
