"""`run`: what is known of the run; its values are constants, and a summary can be written."""

from rivet.modules.contract import Call, StageContext, about

MAX_SUMMARY_BYTES = 128 * 1024

VALUES = ("id", "number", "pipeline", "project", "attempt", "trigger", "actor")
"""What a script reads as `run.id`, `run.number` and so on."""


class Summary(Call, module="run", short=("markdown",)):
    """Write what the run's page shows first, as Markdown; a later call of the stage replaces it."""

    markdown: str = about("the summary", maximum=MAX_SUMMARY_BYTES)
    example = 'run.summary("**12 passed**")'

    def act(self, stage: StageContext) -> None:
        stage.set_summary(self.markdown)
