"""Plug-ins: what is found, and what is left out and why. Nothing of a stranger's stops us."""

import os
import subprocess
import sys

import pytest

from rivet.cli.doctor import _plugins
from rivet.modules.plugins import find_plugins, plugin_names
from rivet.modules.registry import FUNCTIONS, Modules
from rivet.modules.stub import stub
from rivet.wiring.settings import Settings
from tests.plugin_folders import GOOD, SEMVER, a_package, install_semver, python_path


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Installs a package whose one module has this text; modules that were imported are forgotten again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name, text="", target=None):
        file = f"of_{name.replace('-', '_').replace('.', '_')}"
        a_package(tmp_path, f"rivet-{file}", {name: target or file}, {f"{file}.py": text or GOOD.format(name=name)})

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("of_"):
            del sys.modules[name]


def faults(*allowed):
    return {fault.name: fault.why for fault in find_plugins(allowed or ["all"]).faults}


def test_a_plugin_adds_its_module_with_its_functions(package):
    package("sample")
    (plugin,) = find_plugins(["all"]).plugins
    assert (plugin.name, plugin.package, list(plugin.calls)) == ("sample", "rivet-of_sample 1.0", ["echo"])
    modules = Modules({plugin.name: plugin.calls})
    assert modules.bindings()["sample"] == {"echo": "call"}
    assert modules.call("sample", "echo", ["hi"], None) == {"said": "hi", "hi": ["hi"]}
    assert "function sample.echo(text) end" in stub(modules.functions)
    assert modules.functions.keys() - FUNCTIONS.keys() == {"sample"}


def test_what_is_not_allowed_is_not_even_imported(package):
    package("sample", "raise RuntimeError('imported')")
    package("other")
    for allowed in (["other"], ["none"], []):
        found = find_plugins(allowed)
        assert (found.faults, "sample" in found.left_out) == ((), True)
    assert faults("sample") == {"sample": "it cannot be imported: RuntimeError: imported"}
    assert plugin_names(["all"]) == ("other", "sample")
    assert plugin_names(["other"]) == ("other",)
    assert faults("absent") == {"absent": "RIVET_PLUGINS allows it, and it is not installed"}


WRONG = {
    "sys.exit": ("import sys; sys.exit(3)", "it cannot be imported: SystemExit: 3"),
    "syntax": ("def", "it cannot be imported: SyntaxError"),
    "nothing": ("x = 1", "it declares no function"),
    "another module": (GOOD.format(name="another"), "declared with module='another', and its entry point says 'sample'"),
    "no docstring": (GOOD.format(name="sample").replace('"""What it was given."""', ""), "no docstring"),
    "no example": (GOOD.format(name="sample").replace("sample.echo(", "echo("), "does not call sample.echo"),
    "no act": (GOOD.format(name="sample").replace("def act", "def do"), "it has no method act"),
    "an async act": (GOOD.format(name="sample").replace("def act", "async def act"), "act is async"),
    "a type of its own": (GOOD.format(name="sample").replace("text: str", "text: complex"), "cannot be checked"),
    "a short form of nothing": (GOOD.format(name="sample").replace('("text",)', '("txt",)'), "TypeError"),
    "a word of Lua": (GOOD.format(name="sample").replace("class Echo", "class End"), "none that a script can write"),
    "a local function": (GOOD.format(name="sample").replace("short=", "local=True, short="), "local=True is for"),
    "an orphan": (GOOD.format(name="sample").replace("short=", 'of="open", short='), "of='open', which is no function"),
    "half a bracket": (GOOD.format(name="sample").replace("short=", "around=True, short="), "around=True needs"),
}


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_one_is_told_and_the_others_stay(package, text, told):
    package("sample", text)
    package("other")
    assert told in faults()["sample"]
    assert [plugin.name for plugin in find_plugins(["all"]).plugins] == ["other"]


@pytest.mark.parametrize(("name", "told"), [
    ("log", "Rivet has a module log"), ("container", "Rivet has a module container"), ("string", "a word of Lua's"),
    ("end", "a word of Lua's"), ("Big", "lower-case letters"), ("a-b", "lower-case letters"),
])  # fmt: skip
def test_a_name_that_is_taken_or_cannot_be_written_is_refused(package, name, told):
    package(name)
    assert told in faults()[name]
    assert name not in plugin_names(["all"])


def test_of_two_packages_with_one_name_neither_is_used(package, tmp_path):
    package("sample")
    a_package(tmp_path, "rivet-twin", {"sample": "twin"}, {"twin.py": GOOD.format(name="sample")})
    (fault,) = find_plugins(["all"]).faults
    assert (fault.package, fault.mend) == ("rivet-of_sample 1.0 and rivet-twin 1.0", "Uninstall all but one")


def test_an_entry_point_must_lead_to_a_module(package):
    package("sample", target="of_sample:Echo")
    assert "leads to a type" in faults()["sample"]


def test_doctor_tells_of_each_with_its_mend(package):
    package("sample")
    package("broken", "1 / 0")
    told = {each.name: (each.state, each.detail, each.mend) for each in _plugins(Settings(plugins=["all"]))}
    assert told == {
        "plug-in sample": ("ok", "rivet-of_sample 1.0: echo", ""),
        "plug-in broken": (
            "note", "rivet-of_broken 1.0: it cannot be imported: ZeroDivisionError: division by zero",
            "Mend it, uninstall rivet-of_broken, or leave broken out of RIVET_PLUGINS",
        ),
    }  # fmt: skip
    (left,) = (each for each in _plugins(Settings(plugins="sample")) if each.name == "plug-in broken")
    assert left.detail == "installed, and RIVET_PLUGINS does not allow it"


def test_the_plugin_of_the_examples_installs_and_its_own_tests_pass(tmp_path):
    installed = install_semver(tmp_path)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": python_path(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    find = "from rivet.modules.plugins import find_plugins as f; print([p.package for p in f(['all']).plugins])"
    told = subprocess.run([sys.executable, "-c", find], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "['rivet-semver 1.0.0']\n"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(SEMVER / "tests")], env=env, cwd=tmp_path,
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
