"""What a route says of itself beyond its schemas, for the OpenAPI document: refusals, headers, bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rivet.api.problems import STATUSES
from rivet.domain.errors import RivetError

View = TypeVar("View", bound=Callable[..., Any])

_SAID = "rivet_says"


@dataclass
class Said:
    """`refusals` are codes of problems by status, `headers` descriptions of request headers by name."""

    refusals: dict[int, set[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    may_have_no_body: bool = False


def said_of(view: object) -> Said:
    """What a route's view says; nothing, if it says nothing."""
    return getattr(view, _SAID, None) or Said()


def note(view: Callable[..., Any]) -> Said:
    """What the view says, to be added to."""
    said = said_of(view)
    setattr(view, _SAID, said)
    return said


def refuses(
    *errors: type[RivetError], codes: Mapping[int, str] | None = None
) -> Callable[[View], View]:
    """Problems of this route besides those that every route of its form has. `codes` are told by status."""

    def saying(view: View) -> View:
        said = note(view)
        for error in errors:
            said.refusals.setdefault(STATUSES[error], set()).add(error.code)
        for status, code in (codes or {}).items():
            said.refusals.setdefault(status, set()).add(code)
        return view

    return saying


def takes_header(name: str, description: str) -> Callable[[View], View]:
    """A header of the request that changes the answer."""

    def saying(view: View) -> View:
        note(view).headers[name] = description
        return view

    return saying


def takes_bytes(media_type: str) -> Callable[[View], View]:
    """The body is not JSON, and nothing has read it when the view begins: it sets its own bound."""

    def saying(view: View) -> View:
        note(view).body = media_type
        return view

    return saying
