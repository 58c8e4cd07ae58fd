"""Tools of the runner's PATH in a room: found wherever people keep them, with nothing else of their homes."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rivet.runner.room_files import RoomFiles
from rivet.runner.tools import find_tools
from rivet.sandbox.isolation.enclosure import interpreter

SYSTEM = "/usr/local/bin:/usr/bin:/bin"
OF_PYTEST = ("py", "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that nobody else can enter, with something secret in it."""
    made = tmp_path / "alice"
    made.mkdir(mode=0o700)
    (made / "secret").write_text("of alice")
    return made


@pytest.fixture
def tools(home, tmp_path):
    """Tool roots of these folders and the system's."""

    def find(*folders: Path, rivet_home: Path | None = None):
        path = ":".join([*map(str, folders), SYSTEM])
        return find_tools(path, rivet_home=rivet_home or tmp_path / "rivet", homes=[home])

    return find


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def pytest_in(folder: Path) -> Path:
    """A virtual environment with pytest in it, as `pip install pytest` makes one."""
    subprocess.run(
        [str(interpreter()), "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True
    )
    library = next(folder.glob("lib/python3*/site-packages"))
    for name in OF_PYTEST:
        found = Path(find_spec(name).origin)
        if found.name == "__init__.py":
            shutil.copytree(found.parent, library / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, library)
    script(
        folder / "bin" / "pytest",
        f"#!{folder}/bin/python\nimport sys\nfrom pytest import main\nsys.exit(main())\n",
    )
    return folder


def passes_a_suite(room, shell) -> None:
    RoomFiles(room).write("test_it.py", b"def test_one(): assert 1 + 1 == 2\n")
    ended, heard = shell(room, "command -v pytest && pytest -q -p no:cacheprovider", timeout_s=60)
    assert (ended.exit_code, heard.errors) == (0, ""), heard.text + heard.errors
    assert "1 passed" in heard.text


def test_pytest_of_a_virtual_environment_in_a_closed_home(opened, shell, tools, home):
    venv = pytest_in(home / "project" / ".venv")
    passes_a_suite(opened(tools=tools(venv / "bin")), shell)


def test_pytest_by_a_shim_in_a_closed_home(opened, shell, tools, home):
    root = home / ".pyenv"
    pytest_in(root / "versions" / "3.x")
    script(
        root / "libexec" / "pyenv",
        '#!/usr/bin/env bash\n[ "$1" = exec ] && shift\nversion=$(cat "$PYENV_ROOT/version")\n'
        'exec "$PYENV_ROOT/versions/$version/bin/$@"\n',
    )
    (root / "version").write_text("3.x\n")
    script(
        root / "shims" / "pytest",
        f'#!/usr/bin/env bash\nset -e\nexec "{root}/libexec/pyenv" exec "${{0##*/}}" "$@"\n',
    )
    found = tools(root / "shims")
    assert dict(found.env)["PYENV_ROOT"] == str(root)
    room = opened(tools=found)
    passes_a_suite(room, shell)
    assert "secret" not in shell(room, f"ls -A {home}")[1].text


def test_pytest_of_the_system_path(opened, shell, tools, tmp_path):
    venv = pytest_in(tmp_path / "opt" / "tools")
    passes_a_suite(opened(tools=tools(venv / "bin")), shell)


def test_the_python_that_runs_these_tests_is_a_tool_like_any_other(opened, shell, tools):
    room = opened(tools=tools(Path(sys.executable).parent))
    _, heard = shell(room, "python3 -c 'import pytest, sys; print(sys.prefix)'")
    assert heard.text.strip() == sys.prefix


def test_of_a_folder_of_programs_in_a_home_only_these_are_seen(opened, shell, tools, home):
    script(home / "bin" / "hello", "#!/bin/sh\necho hello\n")
    (home / "bin" / "notes").write_text("private")
    room = opened(tools=tools(home / "bin"))
    _, heard = shell(room, f"hello; ls -A {home} {home}/bin")
    assert heard.text.split() == ["hello", f"{home}:", "bin", f"{home}/bin:", "hello"]


def test_a_link_of_local_bin_leads_to_the_environment_of_its_tool(opened, shell, tools, home):
    venv = home / ".local" / "share" / "tools" / "black"
    script(venv / "bin" / "black", '#!/bin/sh\ncat "$(dirname "$(readlink -f "$0")")/../lib/word"\n')
    (venv / "lib").mkdir()
    (venv / "lib" / "word").write_text("formatted\n")
    (home / ".local" / "share" / "keyrings").mkdir()
    (home / ".local" / "bin").mkdir()
    (home / ".local" / "bin" / "black").symlink_to(venv / "bin" / "black")
    room = opened(tools=tools(home / ".local" / "bin", rivet_home=home / ".local" / "share" / "rivet"))
    _, heard = shell(room, f"black; ls {home}/.local/share")
    assert heard.text.split() == ["formatted", "tools"]


def test_a_folder_that_is_a_link_is_there_under_both_names(opened, shell, tools, home):
    script(home / ".nvm" / "versions" / "v22" / "bin" / "node", '#!/bin/sh\ncat "${0%/*}/../lib/word"\n')
    (home / ".nvm" / "versions" / "v22" / "lib").mkdir()
    (home / ".nvm" / "versions" / "v22" / "lib" / "word").write_text("node\n")
    (home / ".nvm" / "current").symlink_to("versions/v22")
    room = opened(tools=tools(home / ".nvm" / "current" / "bin"))
    assert shell(room, "node; command -v node")[1].text.split() == ["node", f"{home}/.nvm/current/bin/node"]


def test_where_rivets_own_folder_lies_only_executables_are_seen(opened, shell, tools, tmp_path):
    root = tmp_path / "opt"
    script(root / "bin" / "hello", "#!/bin/sh\necho hello\n")
    (root / "rivet").mkdir()
    room = opened(tools=tools(root / "bin", rivet_home=root / "rivet"))
    assert shell(room, f"hello; ls {root}")[1].text.split() == ["hello", "bin"]


def test_credentials_beside_cargos_programs_are_not_seen(opened, shell, tools, home):
    script(home / ".cargo" / "bin" / "cargo", "#!/bin/sh\necho $RUSTUP_HOME\n")
    (home / ".cargo" / "credentials.toml").write_text("token")
    (home / ".rustup" / "toolchains").mkdir(parents=True)
    room = opened(tools=tools(home / ".cargo" / "bin"))
    _, heard = shell(room, f"cargo; ls {home}/.cargo {home}/.rustup")
    assert "credentials.toml" not in heard.text
    assert heard.text.split()[0] == f"{home}/.rustup"
    assert "toolchains" in heard.text


@pytest.mark.parametrize("folder", ["", "..", "/"])
def test_a_home_or_the_root_on_the_path_shows_nothing_but_programs(opened, shell, tools, home, folder):
    script(home / "run-me", "#!/bin/sh\necho ran\n")
    found = tools(home / folder)
    assert not [bind for bind in found.binds if home.is_relative_to(bind.source)]
    room = opened(tools=found)
    assert shell(room, f"cat {home}/secret")[0].exit_code == 1


def test_what_cannot_be_seen_is_told(tools, home):
    lost = dict(tools(home / "nothing", Path("relative")).lost)
    assert lost == {str(home / "nothing"): "is no folder that this user may enter", "relative": "is no absolute path"}


def test_the_same_path_is_found_again_quickly(tools):
    import time

    begun = time.monotonic()
    tools(*map(Path, os.environ["PATH"].split(":")))
    assert time.monotonic() - begun < 5
