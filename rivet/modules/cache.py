"""The Lua module `cache`."""

from rivet.domain.cache import MOST_FALLBACKS, MOST_KEY_BYTES
from rivet.modules.contract import Call, Glob, StageContext, about
from rivet.modules.fs import MAX_PATTERNS, as_list


class Restore(Call, module="cache"):
    """Bring back what was saved under a key; else under the newest one that begins with a fallback.

    What comes back is the key that was found, or nil. Only what lies below `paths` is restored. Caches are
    of the pipeline; a branch sees its own and those of the default branch.
    """

    key: str = about("the key", minimum=1, maximum=MOST_KEY_BYTES)
    paths: list[Glob] | Glob = about(
        "files and folders of the workspace, or of HOME (`~/…`)", minimum=1, maximum=MAX_PATTERNS
    )
    fallback: list[str] | str = about(
        "beginnings of other keys that will do, the best first", default=[], maximum=MOST_FALLBACKS
    )
    example = 'local hit = cache.restore({ key = "deps-1", fallback = { "deps-" }, paths = { ".venv" } })'

    def act(self, stage: StageContext) -> str | None:
        fallback = [self.fallback] if isinstance(self.fallback, str) else self.fallback
        return stage.caches.restore(self.key, fallback, as_list(self.paths))


class Save(Call, module="cache"):
    """Keep files under a key for later runs of the pipeline. A key that is there is left as it is.

    What comes back says whether something was saved.
    """

    key: str = about("the key", minimum=1, maximum=MOST_KEY_BYTES)
    paths: list[Glob] | Glob = about(
        "files and folders of the workspace, or of HOME (`~/…`)", minimum=1, maximum=MAX_PATTERNS
    )
    example = 'cache.save({ key = "deps-1", paths = { ".venv", "~/.cache/pip" } })'

    def act(self, stage: StageContext) -> bool:
        return stage.caches.save(self.key, as_list(self.paths))
