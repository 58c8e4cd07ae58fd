"""A problem (RFC 9457) as JSON: one shape, also for what never reaches the application."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


def problem_text(
    status: int, code: str, detail: str, title: str = "", extra: Mapping[str, Any] | None = None
) -> str:
    """The JSON of a problem. `extra` are further members, such as `findings`."""
    return json.dumps(
        {
            "type": f"urn:rivet:problem:{code}",
            "title": title or HTTPStatus(status).phrase,
            "status": status,
            "code": code,
            "detail": detail,
            **(extra or {}),
        },
        default=str,
    )
