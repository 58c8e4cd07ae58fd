"""A repository that git may clone, and that means no good."""

import subprocess
from pathlib import Path

_MODULES = """\
[submodule "one"]
	path = one
	url = ext::sh -c touch% /tmp/pwned-submodule
[submodule "two"]
	path = two
	url = -u touch /tmp/pwned-submodule
[submodule "three"]
	path = three
	url = file:///etc
	update = !touch /tmp/pwned-submodule
[submodule "../../four"]
	path = four
	url = ../../../../tmp
"""


def hostile_repository(folder: Path) -> Path:
    """One that may be cloned: with a link to the root, and submodules whose addresses are commands."""
    folder.mkdir(parents=True)
    _git(folder, "init", "-q", "-b", "main")
    (folder / "README.md").write_text("hello\n")
    (folder / ".gitmodules").write_text(_MODULES)
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "first")
    (folder / "escape").symlink_to("/")
    (folder / "loop").symlink_to("loop")
    head = _git(folder, "rev-parse", "HEAD").strip()
    for name in ("one", "two", "three", "four"):
        _git(folder, "update-index", "--add", "--cacheinfo", f"160000,{head},{name}")
    _git(folder, "add", "escape", "loop")
    _git(folder, "commit", "-q", "-m", "hostile")
    return folder


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Mallory", "-c", "user.email=mallory@rivet.test")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout
