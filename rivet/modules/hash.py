"""The Lua module `hash`."""

import hashlib

from rivet.modules.contract import Call, CallError, Glob, StageContext, about
from rivet.modules.fs import MAX_PATTERNS, as_list


class Sha256(Call, module="hash", short=("text",)):
    """The SHA-256 of any bytes, as 64 hexadecimal digits."""

    text: bytes = about("what to hash", maximum=8 * 1024 * 1024 - 4096)
    example = 'local digest = hash.sha256("hello")'

    def act(self, stage: StageContext) -> str:
        return hashlib.sha256(self.text).hexdigest()


class Files(Call, module="hash", short=("globs",)):
    """One SHA-256 over the files that match: their paths in order, and what they hold.

    It is the same on every machine: neither times nor permissions count. Of a link its target's name counts.
    """

    globs: list[Glob] | Glob = about("which files: a glob, or several", minimum=1, maximum=MAX_PATTERNS)
    example = 'local key = "deps-" .. hash.files("poetry.lock")'

    def act(self, stage: StageContext) -> str:
        globs = as_list(self.globs)
        digest = stage.files(self.title()).digest(globs)
        if digest is None:
            raise CallError(f"hash.files: globs: no file of the workspace matches {', '.join(globs)}")
        return digest
