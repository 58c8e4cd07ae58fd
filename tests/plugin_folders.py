"""Folders of plug-ins as installed packages are: put one on the path, and its entry points are found."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEMVER = ROOT / "examples" / "plugin-semver"

GOOD = '''"""A plug-in for tests."""

from rivet.modules.contract import Call, about


class Echo(Call, module="{name}", short=("text",)):
    """What it was given."""

    text: str = about("any text")
    example = '{name}.echo("x")'

    def act(self, stage):
        return {{"said": self.text, self.text: [self.text]}}
'''


WILD = '''

class Fail(Call, module="echo"):
    """Raises what is no CallError."""

    text: str = about("what with")
    example = 'echo.fail({ text = "x" })'

    def act(self, stage):
        raise ValueError(self.text)


class Odd(Call, module="echo"):
    """Gives what Lua has nothing for."""

    example = "echo.odd()"

    def act(self, stage):
        return object()
'''
"""More functions of a module `echo`, which behave badly."""


def a_package(folder: Path, name: str, entries: dict[str, str], files: dict[str, str]) -> None:
    """A package of version 1.0 in `folder` with these entry points and Python files."""
    told = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{entry} = {target}\n" for entry, target in entries.items())
    (told / "entry_points.txt").write_text(f"[rivet.modules]\n{points}")
    for file, text in files.items():
        (folder / file).write_text(text)


def install_semver(folder: Path) -> Path:
    """The plug-in of the examples, built by its own build backend and unpacked into `folder`."""
    source = folder / "source"
    shutil.copytree(SEMVER, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=60)
    installed = folder / "installed"
    with zipfile.ZipFile(next(source.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    return installed


def python_path(*folders: Path) -> str:
    return os.pathsep.join(str(folder) for folder in folders)
