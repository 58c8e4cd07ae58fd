"""The Lua module `fs`: files of the workspace, and of nothing else."""

from typing import Any

from rivet.modules.contract import Call, CallError, Glob, StageContext, WorkspacePath, about

MAX_BYTES = 8 * 1024 * 1024 - 4096
MAX_PATTERNS = 100
_PATH = "a path of the workspace"


class Read(Call, module="fs", short=("path",)):
    """What a file holds, at most 8 MiB; any bytes come as they are."""

    path: WorkspacePath = about(_PATH)
    example = 'local version = fs.read("VERSION")'

    def act(self, stage: StageContext) -> bytes:
        return stage.files(self.title()).read(self.path)


class Write(Call, module="fs", short=("path", "content")):
    """Make a file hold this, whatever it held before. Its folder must be there."""

    path: WorkspacePath = about(_PATH)
    content: bytes = about("what it is to hold; at most 8 MiB", maximum=MAX_BYTES)
    example = 'fs.write("VERSION", "1.2.3\\n")'

    def act(self, stage: StageContext) -> None:
        stage.files(self.title()).write(self.path, self.content)


class Append(Call, module="fs", short=("path", "content")):
    """Write at the end of a file, which is made if it is not there."""

    path: WorkspacePath = about(_PATH)
    content: bytes = about("what to add; at most 8 MiB", maximum=MAX_BYTES)
    example = 'fs.append("report.txt", "done\\n")'

    def act(self, stage: StageContext) -> None:
        stage.files(self.title()).write(self.path, self.content, appends=True)


class Exists(Call, module="fs", short=("path",)):
    """Whether there is a file, a folder or a link. A link that leads nowhere is one, too."""

    path: WorkspacePath = about(_PATH)
    example = 'if fs.exists("package.json") then log.info("a package") end'

    def act(self, stage: StageContext) -> bool:
        return stage.files(self.title()).stat(self.path) is not None


class List(Call, module="fs", short=("path",)):
    """The names in a folder, in order; at most 10 000."""

    path: WorkspacePath = about("a folder of the workspace", default=".")
    example = 'for _, name in ipairs(fs.list("dist")) do log.info(name) end'

    def act(self, stage: StageContext) -> list[str]:
        return stage.files(self.title()).list(self.path)


class GlobCall(Call, module="fs", name="glob", short=("patterns",)):
    """Paths that match a glob or several, in order; at most 10 000.

    `*`, `?` and `[a-z]` stay within a name, `**` is any number of folders. Names that begin with a dot match
    like others. Links are found and not entered; `**` passes by folders named `.git`.
    """

    patterns: list[Glob] | Glob = about("a glob, or several", minimum=1, maximum=MAX_PATTERNS)
    example = 'local tests = fs.glob("**/test_*.py")'

    def act(self, stage: StageContext) -> list[str]:
        return stage.files(self.title()).glob(as_list(self.patterns))


class Mkdir(Call, module="fs", short=("path",)):
    """Make a folder, and those above it that are missing. One that is there is fine."""

    path: WorkspacePath = about(_PATH)
    example = 'fs.mkdir("build/reports")'

    def act(self, stage: StageContext) -> None:
        stage.files(self.title()).mkdir(self.path)


class Remove(Call, module="fs", short=("path",)):
    """Take away a file, a link, or a folder with all that is in it; whether there was anything."""

    path: WorkspacePath = about(_PATH)
    example = 'fs.remove("build")'

    def act(self, stage: StageContext) -> bool:
        return stage.files(self.title()).remove(_not_all(self, "path", self.path))


class Copy(Call, module="fs", short=("source", "target")):
    """Copy a file, a link, or a folder with all that is in it.

    `target` is the new path itself, not a folder to put it in. A file takes the place of a file.
    """

    source: WorkspacePath = about("what to copy")
    target: WorkspacePath = about("the path of the copy")
    example = 'fs.copy("config.sample", "config")'

    def act(self, stage: StageContext) -> None:
        stage.files(self.title()).copy(self.source, _not_all(self, "target", self.target))


class Move(Call, module="fs", short=("source", "target")):
    """Move or rename a file, a link or a folder. A file takes the place of a file."""

    source: WorkspacePath = about("what to move")
    target: WorkspacePath = about("its new path")
    example = 'fs.move("dist", "release")'

    def act(self, stage: StageContext) -> None:
        source, target = _not_all(self, "source", self.source), _not_all(self, "target", self.target)
        stage.files(self.title()).move(source, target)


class Stat(Call, module="fs", short=("path",)):
    """What is at a path; nil if nothing.

    A table of `kind` (`file`, `folder`, `link`, `other`), `size` in bytes, `mode` as in `"644"`,
    `modified_at` in seconds since 1970, and of a link its `target`.
    """

    path: WorkspacePath = about(_PATH)
    example = 'local found = fs.stat("app.bin")'

    def act(self, stage: StageContext) -> dict[str, Any] | None:
        found = stage.files(self.title()).stat(self.path)
        if found is None:
            return None
        told = {
            "kind": found.kind, "size": found.size, "mode": f"{found.mode:o}", "modified_at": found.changed_at
        }  # fmt: skip
        return told | ({"target": found.target} if found.kind == "link" else {})


def as_list(patterns: list[Glob] | Glob) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _not_all(call: Call, field: str, path: str) -> str:
    if not path.strip("./"):
        raise CallError(f"{call.title()}: {field}: the workspace itself cannot be meant; name what is in it")
    return path
