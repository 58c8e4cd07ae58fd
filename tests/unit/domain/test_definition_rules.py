"""What makes a definition valid, field by field."""

import pytest

from rivet.domain.definition_rules import PIPELINE_FIELDS_TO_COME, read_definition
from rivet.domain.field_rules import Most, TimeLimits
from rivet.domain.kept_rules import Kept, KeptArtifacts, KeptCache, kept_of
from rivet.domain.order import Grants
from rivet.domain.pipeline import Function
from rivet.domain.stage_rules import STAGE_FIELDS_TO_COME
from rivet.domain.states import OnLost

SCRIPT = Function(1)


def a_stage(name="test", **fields):
    return {"name": name, "script": SCRIPT, **fields}


def a_pipeline(**fields):
    return {"name": "Example", "stages": [a_stage()], **fields}


def findings(table, *, resolved=False):
    definition, found = read_definition(table, resolved=resolved)
    assert (definition is None) == bool(found)
    return {(finding.path, finding.code): finding.message for finding in found}


def definition(**fields):
    read, found = read_definition(a_pipeline(**fields), resolved=False)
    assert not found
    return read


def test_a_small_pipeline_has_the_defaults():
    small = definition()
    assert (small.name, small.slug, small.queue) == ("Example", "example", "default")
    assert small.on_lost is OnLost.ERROR
    assert (small.timeout_s, small.stages[0].timeout_s) == (6 * 3600, 3600)
    assert small.grants == Grants()


def test_every_field_of_this_version_is_read():
    whole = definition(
        slug="other",
        description="d",
        env={"A": "x", "B": 3, "C": 2.5},
        queue="gpu",
        permissions={"network": ["a.example:443"], "hosts": ["b.example", "*.c.example:8080"]},
        limits={"memory": "64MiB", "cpu": "2m", "log_lines": 1000},
        isolation="namespaces",
        timeout="90s",
        on_lost="restart",
        stages=[a_stage(env={"D": 1}, timeout="2h")],
    )
    assert (whole.slug, whole.queue, whole.isolation, whole.timeout_s) == ("other", "gpu", "namespaces", 90)
    assert whole.env == {"A": "x", "B": "3", "C": "2.5"}
    assert whole.grants == Grants(False, ("a.example:443",), ("b.example", "*.c.example:8080"))
    assert whole.limits == {"memory": 64 * 2**20, "cpu": 120, "log_lines": 1000}
    assert (whole.stages[0].env, whole.stages[0].timeout_s) == ({"D": "1"}, 7200)
    assert definition(permissions={"network": True}).grants == Grants(True)


def test_stages_given_as_a_function_wait_until_they_are_resolved():
    read, found = read_definition(a_pipeline(stages=SCRIPT), resolved=False)
    assert not found
    assert read.stages_from_function
    assert (("stages",), "wrong-type") in findings(a_pipeline(stages=SCRIPT), resolved=True)


@pytest.mark.parametrize("field", PIPELINE_FIELDS_TO_COME)
def test_a_pipelines_field_to_come_is_known_and_refused(field):
    (message,) = findings(a_pipeline(**{field: {}})).values()
    assert message == f"the pipeline: {field}: this version of Rivet cannot do this yet"


@pytest.mark.parametrize("field", STAGE_FIELDS_TO_COME)
def test_a_stages_field_to_come_is_known_and_refused(field):
    found = findings(a_pipeline(stages=[a_stage(**{field: {}})]))
    assert list(found) == [(("stages", 1, field), "not-supported")]


def test_members_of_a_group_need_no_script_beside_them():
    found = findings(a_pipeline(stages=[{"name": "group", "parallel": []}]))
    assert list(found) == [(("stages", 1, "parallel"), "empty-stages")]


def of_stage(**fields):
    return a_pipeline(stages=[a_stage(**fields)])


def test_what_a_stage_keeps_is_read_in_its_short_and_its_long_form():
    short = kept_of({"artifacts": ["dist/*"], "cache": {"key": "k", "paths": ["~/.cache"], "fallback": ["a-"]}})
    assert short == Kept(KeptArtifacts(None, ("dist/*",), "success"), KeptCache("k", ("~/.cache",), ("a-",)))
    long = kept_of({"artifacts": {"name": "logs", "paths": ["x"], "when": "failure"}})
    assert long == Kept(KeptArtifacts("logs", ("x",), "failure"))
    assert (long.artifacts.is_wanted(passed=True), long.artifacts.is_wanted(passed=False)) == (False, True)
    assert kept_of({}) == Kept()
    asked = kept_of({"cache": {"key": SCRIPT, "paths": ["x"]}})
    assert asked.cache == KeptCache(SCRIPT, ("x",), ())
    assert list(findings(of_stage(cache={"key": SCRIPT, "paths": ["x"]}))) == []


WRONG = {
    "no name": ({"stages": [a_stage()]}, (), "missing-field"),
    "a name of digits only": (a_pipeline(name=3), ("name",), "wrong-type"),
    "an empty name": (a_pipeline(name=""), ("name",), "out-of-range"),
    "a long name": (a_pipeline(name="x" * 101), ("name",), "out-of-range"),
    "a name of bytes": (a_pipeline(name=b"\xff"), ("name",), "wrong-type"),
    "a name with an escape": (a_pipeline(name="a\x1b[2J"), ("name",), "out-of-range"),
    "a name without letters": (a_pipeline(name="+++"), ("name",), "missing-field"),
    "a slug in capitals": (a_pipeline(slug="Not-A-Slug"), ("slug",), "wrong-name"),
    "a value without a name": (a_pipeline() | {1: "x"}, (1,), "unknown-field"),
    "no stages": ({"name": "x"}, (), "no-stages"),
    "empty stages": (a_pipeline(stages={}), ("stages",), "empty-stages"),
    "one stage for a list": (a_pipeline(stages=a_stage()), ("stages",), "wrong-type"),
    "stages with a gap": (a_pipeline(stages={1: a_stage(), 3: a_stage("b")}), ("stages",), "wrong-type"),
    "too many stages": (
        a_pipeline(stages=[a_stage(f"s{n}") for n in range(501)]),
        ("stages",),
        "out-of-range",
    ),
    "a stage that is none": (a_pipeline(stages=["x"]), ("stages", 1), "wrong-type"),
    "a stage without a name": (a_pipeline(stages=[{"script": SCRIPT}]), ("stages", 1), "missing-field"),
    "a stage without a script": (a_pipeline(stages=[{"name": "x"}]), ("stages", 1), "missing-field"),
    "a script that is a text": (
        a_pipeline(stages=[{"name": "x", "script": "ls"}]),
        ("stages", 1, "script"),
        "wrong-type",
    ),
    "a duration in words": (a_pipeline(timeout="soon"), ("timeout",), "wrong-type"),
    "a duration of nothing": (a_pipeline(timeout=0), ("timeout",), "out-of-range"),
    "a duration of months": (a_pipeline(timeout="9999h"), ("timeout",), "out-of-range"),
    "an unknown on_lost": (a_pipeline(on_lost="retry"), ("on_lost",), "wrong-type"),
    "an unknown isolation": (a_pipeline(isolation="vm"), ("isolation",), "wrong-type"),
    "an isolation that no runner has": (a_pipeline(isolation="container"), ("isolation",), "not-supported"),
    "a queue with spaces": (a_pipeline(queue="my queue"), ("queue",), "wrong-name"),
    "a list for env": (a_pipeline(env=["x"]), ("env",), "wrong-type"),
    "a boolean in env": (a_pipeline(env={"A": True}), ("env", "A"), "wrong-type"),
    "a path in env": (a_pipeline(env={"PATH": "/x"}), ("env", "PATH"), "reserved-name"),
    "a loader's variable": (a_pipeline(env={"LD_PRELOAD": "x"}), ("env", "LD_PRELOAD"), "reserved-name"),
    "a variable of Rivet's": (a_pipeline(env={"RIVET_X": "x"}), ("env", "RIVET_X"), "reserved-name"),
    "a variable with a dash": (a_pipeline(env={"A-B": "x"}), ("env", "A-B"), "wrong-name"),
    "a zero byte in env": (a_pipeline(env={"A": "\0"}), ("env", "A"), "out-of-range"),
    "a network that is a text": (
        a_pipeline(permissions={"network": "yes"}),
        ("permissions", "network"),
        "wrong-type",
    ),
    "a network without a port": (
        a_pipeline(permissions={"network": ["a.example"]}),
        ("permissions", "network", 1),
        "wrong-type",
    ),
    "containers": (
        a_pipeline(permissions={"containers": True}),
        ("permissions", "containers"),
        "not-supported",
    ),
    "a memory of a few bytes": (a_pipeline(limits={"memory": 10}), ("limits", "memory"), "out-of-range"),
    "artifacts of nothing": (of_stage(artifacts=[]), ("stages", 1, "artifacts"), "missing-field"),
    "artifacts that are a text": (of_stage(artifacts="dist"), ("stages", 1, "artifacts"), "wrong-type"),
    "an artifact outside": (of_stage(artifacts=["../x"]), ("stages", 1, "artifacts", 1), "wrong-type"),
    "artifacts at a wrong time": (
        of_stage(artifacts={"paths": ["x"], "when": "sometimes"}), ("stages", 1, "artifacts", "when"), "wrong-type"
    ),
    "an artifact's wrong name": (
        of_stage(artifacts={"paths": ["x"], "name": "a/b"}), ("stages", 1, "artifacts", "name"), "wrong-name"
    ),
    "a cache without a key": (of_stage(cache={"paths": ["x"]}), ("stages", 1, "cache"), "missing-field"),
    "a cache of nothing": (of_stage(cache={"key": "k"}), ("stages", 1, "cache", "paths"), "missing-field"),
    "fewer processes than anything needs": (a_pipeline(limits={"processes": 1}), ("limits", "processes"), "out-of-range"),
    "a half of a process": (a_pipeline(limits={"processes": 10.5}), ("limits", "processes"), "wrong-type"),
    "processor time that is none": (a_pipeline(limits={"cpu": "much"}), ("limits", "cpu"), "wrong-type"),
}


@pytest.mark.parametrize(("table", "path", "code"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found_at_its_path(table, path, code):
    assert list(findings(table)) == [(path, code)]


def test_messages_say_what_was_given_and_what_is_expected():
    assert findings(a_pipeline(timeout="soon")) == {
        (("timeout",), "wrong-type"): "the pipeline: timeout: expected a duration over 0 such as 90, "
        '"90s", "30m" or "2h", given "soon"'
    }


def test_an_unknown_field_names_the_nearest_known_one():
    ((place, message),) = findings(a_pipeline(stages=[a_stage("build", timeuot=3)])).items()
    assert place == (("stages", 1, "timeuot"), "unknown-field")
    assert message == 'stage "build" has no field "timeuot"; did you mean "timeout"?'


def test_two_stages_of_one_name_are_both_named():
    found = findings(a_pipeline(stages=[a_stage("Build it"), a_stage("b"), a_stage("build-it")]))
    (message,) = found.values()
    assert list(found) == [(("stages", 3, "name"), "duplicate-name")]
    assert 'stages[3] "build-it" and stages[1] "Build it"' in message


def test_stages_without_a_latin_letter_have_keys_of_their_own():
    read = definition(stages=[a_stage("测试"), a_stage("构建")])
    assert [stage.key for stage in read.stages] == ["stage-1", "stage-2"]


@pytest.mark.parametrize("table", [None, 5, "x", True, Function(3), [], [{"name": "x"}], b"\xff"])
def test_what_is_no_table_with_names_is_no_pipeline(table):
    assert list(findings(table)) == [((), "no-pipeline" if table is None else "wrong-type")]


def test_all_findings_are_told_at_once():
    assert len(findings(a_pipeline(timeout=0, queue=5, nmae="x", stages=[a_stage(env=3), 5]))) == 5


def within_limits(**fields):
    times = TimeLimits(Most(1800, "RIVET_MAX_STAGE_SECONDS"), Most(7200, "RIVET_MAX_RUN_SECONDS"))
    return read_definition(a_pipeline(**fields), resolved=False, times=times)


def test_a_timeout_over_the_operators_maximum_names_it_and_its_setting():
    _, found = within_limits(timeout="3h", stages=[
        {"name": "group", "parallel": [a_stage("build", timeout="2h")]}, a_stage("quick", timeout="30m"),
    ])  # fmt: skip
    assert {finding.path: (finding.code, finding.message) for finding in found} == {
        ("timeout",): ("over-limit", 'the pipeline: timeout: expected at most 7200 s, given "3h"; '
                       "the server's operator sets the maximum (RIVET_MAX_RUN_SECONDS=7200)"),
        ("stages", 1, "parallel", 1, "timeout"): ("over-limit", 'stage "build": timeout: expected at most 1800 s, '
            'given "2h"; the server\'s operator sets the maximum (RIVET_MAX_STAGE_SECONDS=1800)'),
    }  # fmt: skip


def test_a_default_over_the_operators_maximum_is_lowered_to_it():
    read, found = within_limits()
    assert not found
    assert (read.timeout_s, read.stages[0].timeout_s) == (7200, 1800)
