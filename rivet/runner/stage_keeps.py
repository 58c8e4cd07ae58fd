"""What a stage keeps by its fields: its cache before and after its script, its artifacts at its end."""

from rivet.domain.ids import StageKey
from rivet.domain.kept_rules import Kept
from rivet.modules.contract import CallError
from rivet.runner.stage_context import StageCalls


class StageKeeps:
    """`fields` are those of the stage, `key` that of its cache if it has one.

    A cache never fails a stage: what is wrong with it is a warning.
    """

    def __init__(self, fields: Kept, key: str, stage: StageKey, calls: StageCalls) -> None:
        self._fields, self._key, self._stage, self._calls = fields, key, stage, calls

    def before(self) -> None:
        """Restore the cache."""
        cache = self._fields.cache
        if cache is not None:
            try:
                self._calls.caches.restore(self._key, cache.fallback, cache.paths)
            except CallError as error:
                self._calls.tell("warn", str(error))

    def after(self, *, passed: bool) -> str | None:
        """Upload the artifacts, and save the cache of a stage that passed; what fails a stage that passed.

        What goes wrong with the artifacts of a stage that failed is a warning: why it failed is told already.
        """
        cache, artifacts = self._fields.cache, self._fields.artifacts
        if artifacts is not None and artifacts.is_wanted(passed=passed):
            try:
                self._calls.artifacts.upload(artifacts.name or self._stage, artifacts.paths)
            except CallError as error:
                if passed:
                    return str(error)
                self._calls.tell("warn", str(error))
        if cache is not None and passed:
            try:
                self._calls.caches.save(self._key, cache.paths)
            except CallError as error:
                self._calls.tell("warn", str(error))
        return None
