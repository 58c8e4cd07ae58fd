"""Inputs: how they are declared, and what a run may give for them."""

import pytest

from rivet.domain.definition_rules import read_definition
from rivet.domain.errors import InvalidInput
from rivet.domain.inputs import check_inputs
from rivet.domain.pipeline import Function


def declare(inputs):
    return read_definition(
        {"name": "p", "stages": [{"name": "s", "script": Function(1)}], "inputs": inputs}, resolved=False
    )


def declared(**inputs):
    definition, findings = declare(inputs)
    assert not findings
    return definition


def refusal(definition, **given):
    with pytest.raises(InvalidInput) as caught:
        check_inputs(definition, given)
    return caught.value.message


WRONG = {
    "a type that is none": ({"a": {"type": "text"}}, ("inputs", "a", "type"), "wrong-type"),
    "a default of another type": (
        {"a": {"type": "string", "default": 3}},
        ("inputs", "a", "default"),
        "wrong-type",
    ),
    "a default beside the options": (
        {"a": {"default": 5, "options": [1, 2]}},
        ("inputs", "a", "default"),
        "wrong-type",
    ),
    "a default beside the pattern": (
        {"a": {"default": "x", "pattern": "^%d+$"}},
        ("inputs", "a", "default"),
        "wrong-type",
    ),
    "an option of another type": (
        {"a": {"type": "number", "options": [1, "x"]}},
        ("inputs", "a", "options", 2),
        "wrong-type",
    ),
    "a pattern that is none": ({"a": {"pattern": "[a"}}, ("inputs", "a", "pattern"), "bad-pattern"),
    "a pattern for a number": (
        {"a": {"type": "number", "pattern": "%d"}},
        ("inputs", "a", "pattern"),
        "wrong-type",
    ),
    "an unknown field": ({"a": {"defualt": 1}}, ("inputs", "a", "defualt"), "unknown-field"),
    "a required that is a text": ({"a": {"required": "yes"}}, ("inputs", "a", "required"), "wrong-type"),
    "an input that is a text": ({"a": "string"}, ("inputs", "a"), "wrong-type"),
    "a name with a dash": ({"a-b": {}}, ("inputs", "a-b"), "wrong-name"),
    "a list": ([{"type": "string"}], ("inputs",), "wrong-type"),
}


@pytest.mark.parametrize(("inputs", "path", "code"), WRONG.values(), ids=WRONG)
def test_a_wrong_declaration_is_found(inputs, path, code):
    definition, findings = declare(inputs)
    assert definition is None
    assert [(finding.path, finding.code) for finding in findings] == [(path, code)]


def test_the_type_follows_from_the_default():
    definition = declared(a={"default": True}, b={"default": 2.5}, c={})
    assert [each.type for each in definition.inputs] == ["boolean", "number", "string"]


def test_values_are_typed_and_defaults_put_in_place():
    definition = declared(n={"type": "number"}, b={"type": "boolean"}, s={"default": "main"}, none={})
    assert check_inputs(definition, {"n": "3", "b": "false"}) == {"n": 3, "b": False, "s": "main"}
    given = {"n": "-2.5e3", "b": True, "s": "x"}
    assert check_inputs(definition, given) == {"n": -2500.0, "b": True, "s": "x"}
    assert isinstance(check_inputs(definition, {"n": "3"})["n"], int)


def test_a_value_that_does_not_fit_is_refused_with_its_name():
    definition = declared(
        n={"type": "number"}, b={"type": "boolean"}, s={}, o={"options": ["x", "y"]}, v={"pattern": "^v%d+$"}
    )
    assert refusal(definition, n="three") == 'input "n": expected a number, given "three"'
    assert refusal(definition, n=True) == 'input "n": expected a number, given true'
    assert refusal(definition, n=float("inf")).startswith('input "n": expected a number')
    assert refusal(definition, b="yes") == 'input "b": expected true or false, given "yes"'
    assert refusal(definition, s=3) == 'input "s": expected a text, given 3'
    assert refusal(definition, o="z") == 'input "o": expected one of "x", "y", given "z"'
    assert refusal(definition, v="1").endswith('a text that matches the pattern "^v%d+$", given "1"')
    assert refusal(definition, s="a\0b").startswith('input "s": expected a text of at most')


def test_an_unknown_input_names_the_nearest_known_one():
    assert refusal(declared(branch={}), brnach="x") == (
        'pipeline "p" has no input "brnach"; did you mean "branch"?'
    )


def test_a_required_input_that_is_missing_says_how_to_give_it():
    definition = declared(tag={"required": True, "description": "what to release"})
    assert refusal(definition) == (
        'input "tag" (what to release) is required: expected a text, given nothing; give it as -i tag=VALUE'
    )
