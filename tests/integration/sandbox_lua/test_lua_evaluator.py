"""What a good file defines is remembered for a while; all else is evaluated again."""

from rivet.sandbox.lua import Zygote
from rivet.wiring.evaluator import KNOWN, KNOWN_CHARS, LuaEvaluator

FILE = 'pipeline = { name = "P%d", stages = { { name = "one", script = function() end } } }'


def test_a_good_file_is_evaluated_once_as_long_as_it_is_remembered(zygote: Zygote):
    evaluator = LuaEvaluator(zygote)
    first = evaluator.check(FILE % 0)
    assert evaluator.check(FILE % 0) is first
    assert evaluator.check(FILE % 0, "other.lua") is not first, "findings name the file"
    for n in range(1, KNOWN + 1):
        evaluator.check(FILE % n)
    again = evaluator.check(FILE % 0)
    assert again is not first
    assert again == first


def test_a_bad_file_a_long_one_and_one_with_inputs_are_evaluated_each_time(zygote: Zygote):
    evaluator = LuaEvaluator(zygote)
    bad = evaluator.check("pipeline = {")
    assert bad.definition is None
    assert evaluator.check("pipeline = {") is not bad
    long = FILE % 1 + "\n" + "-- long\n" * KNOWN_CHARS
    assert evaluator.check(long) is not evaluator.check(long)
    known = evaluator.check(FILE % 2)
    assert evaluator.check(FILE % 2, inputs={}, run={}) is not known
