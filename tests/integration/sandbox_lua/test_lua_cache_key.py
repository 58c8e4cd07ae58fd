"""A function for `cache.key`, asked of real Lua children before the script runs in the same one."""

import pytest

from rivet.domain.pipeline import Function
from rivet.runner.ask_cache_key import ask_cache_key
from rivet.runner.open_stage import FILE
from rivet.sandbox.lua import LuaError, LuaLimits, Script, open_script

MODULES = {"env": {"get": "call"}, "hash": {"files": "call"}, "log": {"info": "oneway"}, "fs": {"read": "call"}}


@pytest.fixture
def ask(zygote):
    """The key that a function of this body gives, and that the script can run after it."""

    def run(body, served=None):
        source = (
            "local n = 0 return { stages = { { name = 'x', cache = { key = function()\n"
            + body + "\nend, paths = { 'a' } }, script = function() log.info(n) end } } }"
        )  # fmt: skip
        script = open_script(
            zygote, source, FILE, LuaLimits(cpu_s=1, wall_s=20), modules=MODULES,
            values={"run": {"id": "r1"}, "matrix": {"os": "linux"}}, resolve=False,
        )  # fmt: skip
        assert isinstance(script, Script)
        with script:
            function = script.table["stages"][0]["cache"]["key"]
            assert function == Function(1)
            given = ask_cache_key(script, ("stages", 1), function, served or (lambda *_: "answer"), FILE)
            if isinstance(given, str):
                assert script.run(("stages", 1), lambda *_: None) is None
        return given

    return run


def test_it_may_use_what_is_known_before_the_script(ask):
    asked = []

    def served(module, name, args):
        asked.append((module, name, args))
        return "9f"

    assert ask('return "deps-" .. run.id .. matrix.os .. hash.files("*.lock") .. env.get("A")', served) == (
        "deps-r1linux9f9f"
    )
    assert asked == [("hash", "files", ["*.lock"]), ("env", "get", ["A"])]


@pytest.mark.parametrize(
    ("body", "words", "line"),
    [
        ("fs.read('a')", "cache.key: fs.read: `cache.key` may read env, input, output, run and matrix", 2),
        ("error('no lock file')", "cache.key: no lock file", 2),
        ("return nil", "cache.key: expected 1 to 512 bytes of printable text, given nothing", 1),
        ("return 7", "given 7", 1),
        ("return ('k'):rep(513)", "expected 1 to 512 bytes", 1),
        ("return 'a\\nb'", "printable text", 1),
        ("return {}", "given an empty table", 1),
    ],
)
def test_what_is_wrong_with_it_is_an_error_of_the_stage_with_its_line(ask, body, words, line):
    error = ask(body)
    assert isinstance(error, LuaError)
    assert words in error.message
    assert (error.file, error.line) == (FILE, line)
