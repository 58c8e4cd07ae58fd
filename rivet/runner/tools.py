"""Tool roots: what of the runner's machine stages see besides the system, read-only and under the same path.

A tool is seldom one file: for `X/bin` and `X/shims` it is `X`, and what a link, a virtual environment or a
script's first line points to is followed the same way. `/`, a home, Rivet's own folder, and whatever holds
one of them is never visible whole: there only the executables themselves are.
"""

import os
import pwd
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.host import closed_to
from rivet.sandbox.isolation.namespaces import HOME, WORKSPACE
from rivet.sandbox.isolation.system import is_of_the_system

MOST_FILES = 200
MOST_DEPTH = 8
FIRST_PERSON = 1000
NOBODY = 65534

_HIDDEN = {".ssh", ".gnupg", ".aws", ".config", ".docker", ".kube", ".netrc"}
_UNDER_LINE = re.compile(rb"#!\s*(/[^\s\0]+)(?:[ \t]+(?:-S[ \t]+)?([^\s\0]+))?")


@dataclass(frozen=True, slots=True)
class ToolRoots:
    """What rooms see of the runner's tools.

    `path` is the PATH of stages, `lost` what was on the given one and cannot be seen, with the reason;
    `env` are variables without which those tools would look in the wrong place.
    """

    binds: tuple[Bind, ...] = ()
    path: str = "/usr/local/bin:/usr/bin:/bin"
    lost: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()


def find_tools(path: str, *, rivet_home: Path, homes: Iterable[Path] | None = None) -> ToolRoots:
    """Tool roots of a PATH (folders with colons between). `homes` are all of this machine by default."""
    known = _homes() if homes is None else homes
    search = _Search([rivet_home, *known])
    folders: list[str] = []
    for entry in path.split(os.pathsep):
        if not entry or entry in folders:
            continue
        folder = Path(entry)
        if not folder.is_absolute():
            search.lost.append((entry, "is no absolute path"))
        elif not os.path.isdir(folder):
            search.lost.append((entry, "is no folder that this user may enter"))
        else:
            folders.append(entry)
            search.add_folder(folder)
    return ToolRoots(
        binds=tuple(search.binds()),
        path=os.pathsep.join(folders),
        lost=tuple(search.lost),
        env=tuple(search.env.items()),
    )


def passable(tools: ToolRoots, uid: int | None) -> ToolRoots:
    """Those that a stage's user (None: oneself) gets to where they are: a room may have no other names."""
    if uid is None:
        return tools
    folders = tools.path.split(os.pathsep)
    closed = {folder: closed_to(uid, Path(folder, "tool")) for folder in folders if folder}
    why = "lies behind {}, which is closed to the users of stages, and this level shows tools where they are"
    lost = [(folder, why.format(at)) for folder, at in closed.items() if at is not None]
    return replace(
        tools,
        binds=tuple(bind for bind in tools.binds if closed_to(uid, Path(bind.target)) is None),
        path=os.pathsep.join(folder for folder, at in closed.items() if at is None),
        lost=(*tools.lost, *lost),
    )


class _Search:
    """Collects what is visible: targets in the room by their path, with the resolved source of each."""

    def __init__(self, guarded: Iterable[Path]) -> None:
        self._guarded = {path for each in guarded for path in (each, _real(each))}
        self._sources: dict[Path, Path] = {}
        self._links: dict[Path, Path] = {}
        self._seen: set[Path] = set()
        self._files = 0
        self.lost: list[tuple[str, str]] = []
        self.env: dict[str, str] = {}

    def binds(self) -> Iterator[Bind]:
        """Those that no other shows already, outer ones first."""
        shown: dict[Path, Path] = {}
        for target, source in sorted(self._sources.items(), key=lambda pair: len(pair[0].parts)):
            outer = next((each for each in target.parents if each in shown), None)
            if outer is not None and shown[outer] / target.relative_to(outer) == source:
                continue
            shown[target] = source
            yield Bind(source, str(target))
        for link, says in self._links.items():
            if not any(each in shown for each in (link, *link.parents)):
                yield Bind(says, str(link), is_link=True)

    def add_folder(self, folder: Path, depth: int = 0) -> None:
        """Show a folder of PATH by its root, and follow what is in it."""
        real = _real(folder)
        if depth > MOST_DEPTH or folder in self._seen:
            return
        self._seen.add(folder)
        if not is_of_the_system(real):
            self._add_root_of(folder, real)
        if folder != real:
            # The name it has on PATH, and what that leads to: a tool may find itself by either.
            self._seen.add(real)
            if not is_of_the_system(real):
                self._add_root_of(real, real)
        for file in _executables(real):
            self._follow(file, depth)

    def _add_root_of(self, folder: Path, real: Path) -> None:
        root = folder.parent if folder.name in ("bin", "sbin", "shims") else folder
        self._note_manager(root, folder)
        if root.name == ".cargo":
            # Beside its programs lie the credentials of a registry.
            self._show(folder, real)
        elif not self._is_guarded(root) and not _holds_secrets(root):
            self._show(root, _real(root))
        else:
            self._show_executables(folder, real)
            library = root / "lib"
            if root.name == ".local" and os.path.isdir(library):
                self._show(library, _real(library))

    def _note_manager(self, root: Path, folder: Path) -> None:
        """Version managers that look for themselves in HOME, which is another one in a room."""
        if folder.name == "shims" and os.path.exists(root / "libexec" / "pyenv"):
            self.env.setdefault("PYENV_ROOT", str(root))
        elif root.name == ".cargo" and os.path.isdir(toolchains := root.with_name(".rustup")):
            self.env.setdefault("RUSTUP_HOME", str(toolchains))
            self._show(toolchains, _real(toolchains))
        elif root.name == ".local" and any(root.glob("lib/python3*/site-packages")):
            self.env.setdefault("PYTHONUSERBASE", str(root))

    def _show_executables(self, folder: Path, real: Path) -> None:
        for file in _executables(real):
            if self._files >= MOST_FILES:
                self.lost.append((str(folder), f"is seen up to {MOST_FILES} executables and no further"))
                return
            self._files += 1
            self._show_file(folder / file.name)

    def _follow(self, file: Path, depth: int) -> None:
        """Show what an executable needs besides itself: a link's target, a script's interpreter."""
        target = _real(file)
        if target != file and not is_of_the_system(target):
            self._add_file(target, depth)
        if is_of_the_system(target) and file.is_relative_to("/usr"):
            return
        for interpreter in _interpreters(target):
            if not is_of_the_system(_real(interpreter)):
                self._add_file(interpreter, depth)

    def _add_file(self, file: Path, depth: int) -> None:
        """Show a file that a visible one leads to, by the root of its folder if that is one of tools."""
        folder = file.parent
        if folder.name in ("bin", "sbin", "shims"):
            self.add_folder(folder, depth + 1)
        elif not self._is_shown(file):
            self._show_file(file)
        if depth < MOST_DEPTH:
            for step in _links(file):
                if not is_of_the_system(step) and not self._is_shown(step):
                    self._add_file(step, depth + 1)

    def _show_file(self, file: Path) -> None:
        """A link stays one: a program may look for its parts from where it leads."""
        if file.is_symlink():
            self._links.setdefault(file, Path(os.readlink(file)))
        else:
            self._show(file, _real(file))

    def _show(self, target: Path, source: Path) -> None:
        if self._is_guarded(source):
            self.lost.append((str(target), "holds a home or Rivet's own folder"))
        elif any(target.is_relative_to(each) for each in (WORKSPACE, HOME, "/proc", "/dev")):
            self.lost.append((str(target), "lies where a room has something of its own"))
        elif not is_of_the_system(target):
            self._sources.setdefault(target, source)

    def _is_shown(self, file: Path) -> bool:
        return file in self._links or any(each in self._sources for each in (file, *file.parents))

    def _is_guarded(self, folder: Path) -> bool:
        """Whether a folder is, or holds, what must not be seen whole."""
        real = _real(folder)
        return any(each == real or each.is_relative_to(real) for each in self._guarded)


def _holds_secrets(root: Path) -> bool:
    """Whether it looks like a home although no user has it: what people keep there is not for stages."""
    return any(os.path.exists(root / name) for name in _HIDDEN)


def _homes() -> list[Path]:
    """Homes of people and of root; those of the system's services are folders like /bin."""
    people = [
        Path(entry.pw_dir)
        for entry in pwd.getpwall()
        if entry.pw_uid == 0 or FIRST_PERSON <= entry.pw_uid < NOBODY
    ]
    own = os.environ.get("HOME", "")
    found = [home for home in [*people, Path(own or "/nonexistent"), Path("/home")] if home != Path("/")]
    return [*found, *(home / ".local" for home in found)]


def _executables(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_executable(entry)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _is_executable(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() and os.access(entry.path, os.X_OK)
    except OSError:
        return False


def _links(file: Path) -> Iterator[Path]:
    """The steps that a link takes, without the link itself."""
    for _ in range(MOST_DEPTH):
        if not os.path.islink(file):
            return
        file = Path(os.path.normpath(file.parent / os.readlink(file)))
        yield file


def _interpreters(script: Path) -> Iterator[Path]:
    """What a script's first line names, if it is a script."""
    try:
        with script.open("rb") as opened:
            found = _UNDER_LINE.match(opened.read(512))
    except OSError:
        return
    if found is None:
        return
    yield Path(os.fsdecode(found[1]))
    if found[2] is not None and found[2].startswith(b"/"):
        yield Path(os.fsdecode(found[2]))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
