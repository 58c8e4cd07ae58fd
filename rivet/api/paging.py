"""Lists by pages: `limit` and an opaque `cursor` in, `{items, next_cursor}` out."""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from rivet.domain.errors import InvalidInput

Named = dict[str, Any]
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _moment(given: object) -> object:
    """A `+` that was not encoded in the URL has arrived as a space."""
    if not isinstance(given, str) or isinstance(given, datetime):
        return given
    text = re.sub(r" (\d\d:\d\d)$", r"+\1", given) if "T" in given.upper() else given
    if not _RFC_3339.fullmatch(text):
        raise ValueError("expected a time with its zone, such as 2030-01-31T09:30:00Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A time as RFC 3339 writes it."""


class Paged(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=500, description="At most so many items.")
    cursor: str | None = Field(
        default=None,
        max_length=400,
        pattern="^[A-Za-z0-9_=-]*$",
        description="`next_cursor` of the page before.",
    )

    def after(self) -> str | None:
        """Where the page begins. Raises InvalidInput for a cursor that is none of ours."""
        if self.cursor is None:
            return None
        try:
            after = base64.b64decode(self.cursor.encode(), b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise bad_cursor() from None
        if "\0" in after:
            raise bad_cursor()
        return after


def page(items: list[Named], next_after: str | None) -> Named:
    cursor = None if next_after is None else base64.urlsafe_b64encode(next_after.encode()).decode()
    return {"items": items, "next_cursor": cursor}


def bad_cursor() -> InvalidInput:
    return InvalidInput("cursor: is none that a page gave as `next_cursor`; leave it out to begin anew")
