"""Checking a file: every finding stands where a person can go to it."""

import time

import pytest

from rivet.domain.inputs import check_inputs
from rivet.sandbox.definition import LOCKED, check
from rivet.sandbox.lua import LuaLimits

GOOD = """pipeline = {
  name = "Example Pipeline",
  stages = {
    {
      name = "checkout",
      script = function()
        log.info("Cloning repository...")
        git.clone({ url = "https://github.com/user/repo.git", branch = "main" })
      end
    },
    {
      name = "test",
      script = function()
        process.run({ command = "pytest", args = {"tests/"} })
      end
    }
  }
}
"""


@pytest.fixture
def places(zygote):
    """The findings of a file as `line:column code`."""

    def of(source, **limits):
        checked = check(zygote, source, limits=LuaLimits(**limits))
        return [f"{place.line}:{place.column} {place.code}" for place in checked.places]

    return of


def test_the_first_example_is_a_definition(zygote):
    checked = check(zygote, GOOD)
    assert not checked.places
    assert checked.definition.slug == "example-pipeline"
    assert [(stage.key, stage.path) for stage in checked.definition.stages] == [
        ("checkout", ("stages", 1)), ("test", ("stages", 2))
    ]  # fmt: skip
    assert checked.digest == check(zygote, GOOD).digest
    assert checked.digest != check(zygote, GOOD.replace("checkout", "check")).digest


def test_findings_stand_at_the_value_or_at_the_name(places):
    assert places(GOOD.replace('name = "test"', 'name = "test", timeuot = 3')) == ["12:22 unknown-field"]
    assert places(GOOD.replace('name = "test"', 'name = "test", timeout = "x"')) == ["12:32 wrong-type"]
    assert places(GOOD.replace('name = "test"', "name = 3")) == ["12:14 wrong-type"]
    assert places(GOOD.replace('name = "test",', "")) == ["11:5 missing-field"]
    assert places(GOOD.replace('"test"', '"Checkout"')) == ["12:14 duplicate-name"]


def test_columns_count_characters_not_bytes(places):
    source = GOOD.replace('name = "test",', 'name = "tést", timeuot = 3,')
    assert places(source) == ["12:22 unknown-field"]


def test_names_assignments_and_functions_are_followed(places):
    source = """local build = { name = "build", script = 3 }
local all = { build }
local p = { name = "x" }
p.queue = 5
p.stages = all
p.stages[1].timeout = "soon"
return pipeline.define(p)
"""
    assert places(source) == ["1:42 wrong-type", "4:11 wrong-type", "6:23 wrong-type"]


def test_a_value_made_by_code_gets_the_nearest_literal_around_it(places):
    source = """local function made()
  return { name = 5, script = function() end }
end
return {
  name = "x",
  stages = { made() },
}
"""
    assert places(source) == ["6:14 wrong-type"]


def test_what_concerns_the_whole_file_stands_at_its_beginning(places):
    assert places("local x = 1") == ["1:1 no-pipeline"]
    assert places("--" + "x" * 10_000_000) == ["1:1 too-large"]


def test_syntax_errors_have_line_and_column(places):
    assert places("pipeline = {\n  name = = 3\n}") == ["2:10 syntax"]
    assert places("pipeline = {\n  name = 'x',") == ["2:14 syntax"]
    assert places("x = 'abc\ny") == ["1:5 syntax"]
    assert places("return {\n  é = 1 }") == ["2:3 syntax"]


def test_a_file_made_to_keep_the_parser_busy_costs_little_time(places):
    begun = time.monotonic()
    assert places("return {" + "= = {" * 50_000) == ["1:9 syntax"]
    assert time.monotonic() - begun < 5


def test_errors_and_limits_while_defining_have_their_line(places):
    assert places("local t\n  t.x = 1") == ["2:3 runtime"]
    assert places("\nwhile true do end", cpu_s=0.2) == ["2:1 limit-cpu"]
    assert places("local t = {}\nwhile true do\n  t = { t }\nend") == ["3:3 limit-memory"]
    assert places("return ('a'):rep(9000):find(('.-'):rep(12) .. 'b')", wall_s=0.3) == ["1:1 limit-wall"]


def test_a_module_used_while_defining_is_refused_by_name_and_line(zygote):
    checked = check(zygote, 'local x = 1\nprocess.run { command = "ls" }')
    (place,) = checked.places
    assert (place.line, place.code) == (2, "module-while-defining")
    assert place.message.startswith(f"process.run {LOCKED}")


def test_stages_that_are_a_function_are_resolved_with_inputs(zygote):
    source = """return {
  name = "x",
  inputs = { count = { type = "number", default = 2 } },
  stages = function()
    local list = {}
    for i = 1, input.get("count") do list[i] = { name = "s" .. i, script = function() end } end
    return list
  end,
}"""
    unresolved = check(zygote, source)
    assert unresolved.definition.stages_from_function
    inputs = check_inputs(unresolved.definition, {"count": "3"})
    resolved = check(zygote, source, inputs=inputs, run={"id": "r"})
    assert [stage.key for stage in resolved.definition.stages] == ["s1", "s2", "s3"]
    assert resolved.digest != unresolved.digest
    assert resolved.digest == check(zygote, source, inputs=inputs, run={"id": "other"}).digest


def test_a_function_that_gives_no_list_is_told_where_it_stands(zygote):
    source = 'return {\n  name = "x",\n  stages = function() return 5 end,\n}'
    (place,) = check(zygote, source, inputs={}).places
    assert (place.line, place.column, place.code) == (3, 12, "wrong-type")


def test_a_plugins_module_used_while_defining_is_refused_by_name_and_line(zygote):
    told = [
        [(place.line, place.code, place.message) for place in check(zygote, source, plugins=["sample"], inputs={}).places]
        for source in ("\nsample.echo('x')", "return { name = 'x', stages = function()\n return sample.list end }")
    ]
    ((line, code, message),), ((inner, _, of_function),) = told
    assert (line, code) == (2, "module-while-defining")
    assert message.startswith(f"sample.echo {LOCKED}")
    assert (inner, of_function) == (2, "sample.list may not be used here: what `stages` says may depend on "
                                    "`input` and `run` alone")  # fmt: skip
    inside = "return { name = 'x', stages = { { name = 'a', script = function() sample.echo('x') end } } }"
    assert check(zygote, inside, plugins=["sample"]).places == []
