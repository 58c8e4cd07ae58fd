"""Lists by pages: `limit` and an opaque `cursor` in, `{items, next_cursor}` out."""

import base64
import binascii
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rivet.domain.errors import InvalidInput

Named = dict[str, Any]


class Paged(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=500, description="At most so many items.")
    cursor: str | None = Field(
        default=None, max_length=400, description="`next_cursor` of the page before."
    )

    def after(self) -> str | None:
        """Where the page begins. Raises InvalidInput for a cursor that is none of ours."""
        if self.cursor is None:
            return None
        try:
            return base64.urlsafe_b64decode(self.cursor.encode()).decode()
        except (binascii.Error, ValueError):
            raise bad_cursor() from None


def page(items: list[Named], next_after: str | None) -> Named:
    cursor = None if next_after is None else base64.urlsafe_b64encode(next_after.encode()).decode()
    return {"items": items, "next_cursor": cursor}


def bad_cursor() -> InvalidInput:
    return InvalidInput("cursor: is none that a page gave as `next_cursor`; leave it out to begin anew")
