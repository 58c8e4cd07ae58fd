"""`run`: what is known of the run; its values are constants, and a summary can be written."""

from rivet.modules.contract import Call, StageContext, about

MAX_SUMMARY_BYTES = 128 * 1024

VALUES = ("id", "pipeline", "project", "trigger", "actor")
"""What is read as `run.id` and so on, by scripts and by functions that are evaluated at the run's start."""

STAGE_VALUES = ("number", "attempt", "status", "failed_stage")
"""What scripts read besides: at the run's start it is not known yet. The last two are for `finally`."""


class Summary(Call, module="run", short=("markdown",)):
    """Write what the run's page shows first, as Markdown; a later call of the stage replaces it."""

    markdown: str = about("the summary", maximum=MAX_SUMMARY_BYTES)
    example = 'run.summary("**12 passed**")'

    def act(self, stage: StageContext) -> None:
        stage.set_summary(self.markdown)
