"""The stub for editors: Lua that parses, with every function of every module."""

import subprocess
import sys

import pytest
import tree_sitter_lua
from tree_sitter import Language, Parser

from rivet.modules import registry
from rivet.modules.stub import stub


@pytest.fixture(scope="module")
def text() -> str:
    return stub()


def test_it_is_lua_that_parses(text):
    tree = Parser(Language(tree_sitter_lua.language())).parse(text.encode())
    assert not tree.root_node.has_error


def test_every_function_and_method_is_in_it_with_what_it_says(text):
    for module, calls in registry.FUNCTIONS.items():
        assert f"---@class {module}\n" in text
        for call in calls.values():
            if call.of_handle is None:
                assert f"\nfunction {module}.{call.function}(" in text
            assert call.function.endswith(":end") or (call.__doc__ or "").splitlines()[0] in text
            for name, field in call.declared.items():
                assert name in text
                assert field.description in text


def test_types_are_those_that_an_editor_knows(text):
    for line in (
        "---@param path string a path of the workspace",
        "---@field ready? process.start.ready how it is known to be ready; else it is at once",
        "---@return process.start.handle",
        "function start_handle:wait(timeout) end",
        "---@field args? string[] its arguments, one by one",
        "---@param fn function the function",
        "---@return string|nil",
    ):
        assert line in text.splitlines()


def test_it_is_the_same_whenever_it_is_made(text):
    again = subprocess.run(
        [sys.executable, "-c", "from rivet.modules.stub import stub; print(stub(), end='')"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert again.stdout == text
