"""`run`: what is known of the run; its values are constants, and a summary can be written."""

from collections.abc import Mapping
from typing import Any

from rivet.modules.contract import Call, StageContext, about

MAX_SUMMARY_BYTES = 128 * 1024

VALUES = ("id", "pipeline", "project", "trigger", "actor")
"""What is read as `run.id` and so on, by scripts and by functions that are evaluated at the run's start."""

STAGE_VALUES = ("number", "attempt", "status", "failed_stage")
"""What scripts read besides: at the run's start it is not known yet. The last two are for `finally`."""


def as_defined(facts: Mapping[str, Any]) -> dict[str, Any]:
    """`VALUES` as functions of the definition read them: those of a rerun what the first run's read."""
    values = {name: facts.get(name) for name in VALUES}
    return {**values, "id": facts.get("defined_as") or facts.get("id")}


class Summary(Call, module="run", short=("markdown",)):
    """Write what the run's page shows first, as Markdown; a later call of the stage replaces it."""

    markdown: str = about("the summary", maximum=MAX_SUMMARY_BYTES)
    example = 'run.summary("**12 passed**")'

    def act(self, stage: StageContext) -> None:
        stage.set_summary(self.markdown)
