"""Reruns of runs that have ended: what runs again, what stands, and what each goes on from."""

from dataclasses import replace
from typing import Any

import pytest

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.errors import Conflict, NotFound
from rivet.domain.ids import RunId, StageKey
from rivet.domain.job import Job
from rivet.domain.rerun import Form
from rivet.domain.stage import Stage
from rivet.domain.states import Reason
from rivet.engine.expand_matrix import expand_matrices
from rivet.engine.lose_job import lose_job
from rivet.engine.rerun_run import RerunPlan, RerunRequest, plan_rerun, rerun_run

from .conftest import Ids, KnowingEvaluator
from .test_flow import F, Flow, defined, stage


class Again(Flow):
    """A flow whose run has ended, and its reruns: what it says is of the newest run."""

    run_id: RunId

    def begin(self) -> RunId:
        self.run_id = self.start()
        self.keeps_everything()
        return self.run_id

    def keeps_everything(self, since_s: float = 10**6) -> None:
        """The runner says that it has let go of no workspace since then."""
        with self.store.begin() as tx:
            runner = tx.runners.get("runner")
            assert runner is not None
            tx.runners.put(replace(runner, kept_since=tx.now(), kept_s=86400.0))
        self.store.pass_time(since_s)

    def rerun(self, form: Form = Form.WHOLE, key: str | None = None, **fields: Any) -> RunId:
        self.run_id = rerun_run(
            RerunRequest(self.run_id, "bob", form, key, **fields), store=self.store,
            evaluator=KnowingEvaluator(self.definition, self.given), ids=Ids(self.store),
        )
        return self.run_id

    def plan(self, form: Form = Form.WHOLE, key: str | None = None, **fields: Any) -> RerunPlan:
        return plan_rerun(
            RerunRequest(self.run_id, "bob", form, key, **fields), store=self.store,
            evaluator=KnowingEvaluator(self.definition, self.given), ids=Ids(self.store),
        )

    def stage_of(self, key: str) -> Stage:
        return next(
            each for each in self.store.world.stages.values() if (each.run_id, each.key) == (self.run_id, key)
        )

    def job_of(self, key: str) -> Job:
        return self.store.world.jobs[self.stage_of(key).job_id]

    def states(self) -> dict[str, str]:
        mine = [each for each in self.store.world.stages.values() if each.run_id == self.run_id]
        return {str(each.key): str(each.status) for each in sorted(mine, key=lambda each: each.ordinal)}

    def standing(self) -> set[str]:
        return {
            str(each.key) for each in self.store.world.stages.values()
            if each.run_id == self.run_id and each.from_run is not None
        }

    def ended(self) -> str:
        return str(self.store.world.runs[self.run_id].status)

    def hear_of(self, name: str, **changes: Any) -> None:
        self.store.world.runners[name] = replace(self.store.world.runners[name], **changes)


def again(*stages: dict[str, Any], **fields: Any) -> Again:
    flow = Again(defined(*stages, **fields))
    flow.begin()
    return flow


def test_a_whole_rerun_is_a_new_run_with_the_same_inputs_and_recorded_values():
    flow = again(stage("a"), stage("b"))
    first = flow.run_id
    flow.perform("a", b="failed")
    assert flow.ended() == "failed"
    flow.rerun()
    run, before = flow.store.world.runs[flow.run_id], flow.store.world.runs[first]
    assert (run.rerun_of, run.number, run.version_id) == (first, before.number + 1, before.version_id)
    assert (run.actor, run.facts["actor"], run.facts["id"]) == ("bob", "alice", str(flow.run_id))
    assert run.facts["defined_as"] == str(first)
    assert flow.states() == {"a": "pending", "b": "pending"}
    flow.perform("a")
    assert (flow.ended(), str(flow.store.world.runs[first].status)) == ("passed", "failed")


def test_a_run_that_goes_on_is_not_rerun():
    flow = again(stage("a"))
    with pytest.raises(Conflict, match=r"example#1 goes on.*`stage`"):
        flow.rerun()


def test_an_unknown_run_is_not_found():
    flow = again(stage("a"))
    flow.run_id = RunId(flow.store.world.uuid())
    with pytest.raises(NotFound):
        flow.rerun()


def test_a_rerun_with_an_id_is_started_once():
    flow = again(stage("a"))
    flow.perform("a")
    origin, asked = flow.run_id, RunId(flow.store.world.uuid())
    assert flow.rerun(id=asked) == asked
    flow.run_id = origin
    assert flow.rerun(id=asked) == asked
    assert len(flow.store.world.runs) == 2
    flow.run_id = origin
    third = flow.rerun()
    assert flow.store.world.runs[third].number == 3


def test_runs_of_a_concurrency_group_and_their_reruns_take_turns():
    flow = again(stage("a"), concurrency={"group": "prod"})
    flow.perform("a")
    origin = flow.run_id
    flow.rerun()
    assert flow.job_of("a").status == "queued"
    flow.run_id = origin
    flow.rerun()
    assert flow.job_of("a").status == "pending"


def test_an_expanded_matrix_stays_as_it_was_expanded():
    flow = Again(defined(stage("a"), stage("m", matrix=F), stage("b")), given=[{"n": 1}, {"n": 2}])
    flow.begin()
    flow.perform("a")
    expand_matrices(
        flow.run_id, store=flow.store, evaluator=KnowingEvaluator(flow.definition, flow.given), ids=Ids(flow.store)
    )
    flow.perform("m.1")
    flow.perform("m.2", m_2="failed")
    flow.given = [{"n": 3}]
    flow.rerun()
    assert list(flow.states()) == ["a", "m.1", "m.2", "b"]
    assert flow.stage_of("m.2").spec.row == {"n": 2}


def test_only_what_failed_and_what_builds_on_it_runs_again():
    flow = again(stage("a"), stage("m", matrix={"n": [1, 2]}), stage("other", needs=[]), stage("b"))
    first, flow.workspace = flow.run_id, "kept"
    flow.perform("other")
    flow.perform("a")
    flow.perform("m.1")
    flow.perform("m.2", m_2="failed")
    flow.rerun(Form.FAILED)
    assert flow.states() == {"a": "passed", "m.1": "passed", "m.2": "pending", "other": "passed", "b": "pending"}
    assert flow.standing() == {"a", "m.1", "other"}
    assert {flow.stage_of(key).from_run for key in flow.standing()} == {first}
    assert {flow.stage_of(key).reason for key in flow.standing()} == {"from_run"}
    assert flow.job_of("m.2").status == "queued"
    flow.perform("m.2")
    flow.perform("b")
    assert flow.ended() == "passed"


def test_what_stands_keeps_the_run_in_which_it_ran_through_reruns_of_reruns():
    flow = again(stage("a"), stage("b", queue="gpu"), stage("c", queue="default"))
    first, flow.workspace = flow.run_id, "kept"
    flow.perform("a")
    flow.perform("b", b="failed")
    second = flow.rerun(Form.FAILED)
    flow.perform("b")
    flow.perform("c", c="failed")
    flow.rerun(Form.FAILED)
    assert (flow.stage_of("a").from_run, flow.stage_of("b").from_run) == (first, second)
    order = flow.claim("c")
    assert order.start is not None
    assert order.start.job == flow.job_of("b").origin.job
    assert [each.key for each in order.stages] == ["c"]


def test_outputs_and_kept_files_come_along_with_what_stands():
    flow = again(stage("a", needs=[], keep=["x"]), stage("b", needs=["a"]))
    origin = flow.run_id
    kept = Contents("tar", "kept.tar", "", 1, Manifest(1, "0" * 64, ("1" * 64,)))
    with flow.store.begin() as tx:
        tx.stages.set_output(origin, StageKey("a"), "word", "said")
        tx.keeps.put(origin, StageKey("a"), kept, {"x": "1"}, flow.store.world.uuid())
    flow.perform("a")
    flow.perform("b", b="failed")
    flow.rerun(Form.FAILED)
    order = flow.claim("b")
    assert (dict(order.outputs), order.brings) == ({"word": "said"}, (kept,))


def test_kept_files_that_are_gone_refuse_what_needs_them_and_say_with_which_stage_to_begin():
    flow = again(stage("a", needs=[], keep=["x"]), stage("b", needs=["a"]))
    flow.perform("a")
    flow.perform("b", b="failed")
    with pytest.raises(Conflict, match=r'"b" of example#1 .* the files that "a" kept is gone.*begin with "a"') as told:
        flow.rerun(Form.FAILED)
    assert told.value.details["instead"] == "a"
    assert len(flow.store.world.runs) == 1


def test_a_run_that_passed_has_nothing_that_failed():
    flow = again(stage("a"))
    flow.perform("a")
    with pytest.raises(Conflict, match="example#1 passed"):
        flow.rerun(Form.FAILED)


def test_finally_runs_again_whatever_else_does():
    flow = again(stage("a"), stage("b", needs=[]), **{"finally": [stage("x")]})
    flow.perform("a", a="failed")
    flow.perform("b")
    flow.perform("x")
    flow.rerun(Form.FAILED)
    assert flow.states() == {"a": "pending", "b": "passed", "x": "pending"}


def test_from_a_stage_on_begins_in_the_middle_of_its_job_with_the_workspace_as_it_found_it():
    flow = again(stage("a"), stage("b"), stage("c"), stage("d", queue="gpu"))
    flow.workspace = "kept"
    was = flow.job_of("a")
    flow.perform("a", c="failed")
    flow.rerun(Form.FROM, "b")
    assert flow.states() == {"a": "passed", "b": "pending", "c": "pending", "d": "pending"}
    assert flow.store.world.outbox[flow.job_of("b").id, flow.job_of("b").epoch][0] == "own:runner"
    order = flow.claim("b")
    assert [each.key for each in order.stages] == ["b", "c"]
    assert order.start is not None
    assert (order.start.job, order.start.found_by, order.start.is_empty) == (was.id, "b", False)


def test_from_a_stage_that_stands_in_a_rerun_its_workspace_is_where_it_ran():
    flow = again(stage("a"), stage("b"), stage("c"))
    flow.workspace = "kept"
    was = flow.job_of("b")
    flow.perform("a", c="failed")
    flow.rerun(Form.FROM, "c")
    flow.perform("c", c="failed")
    flow.rerun(Form.FROM, "b")
    assert flow.standing() == {"a"}
    start = flow.claim("b").start
    assert start is not None
    assert (start.job, start.found_by) == (was.id, "b")


def test_an_empty_workspace_is_had_anywhere():
    flow = again(stage("a"), stage("b"))
    flow.workspace = "empty"
    flow.perform("a", b="failed")
    flow.keeps_everything()
    flow.rerun(Form.FROM, "b")
    assert flow.store.world.outbox[flow.job_of("b").id, flow.job_of("b").epoch][0] == "q:default"
    start = flow.claim("b").start
    assert start is not None
    assert start.is_empty


@pytest.mark.parametrize(
    ("lose", "why"),
    [
        (lambda flow: flow.hear_of("runner", status="offline"), "is offline"),
        (lambda flow: flow.store.pass_time(9) or flow.keeps_everything(), "has let go of it"),
        (lambda flow: flow.store.world.runners.pop("runner"), "is not there any more"),
    ],
)
def test_a_workspace_that_is_gone_refuses_the_stage_before_anything_is_made(lose, why):
    flow = again(stage("a"), stage("b"), stage("c"))
    flow.workspace = "kept"
    flow.perform("a", c="failed")
    lose(flow)
    with pytest.raises(Conflict, match=rf'the workspace as "c" found it is gone: .*{why}.*begin with "a"'):
        flow.rerun(Form.FROM, "c")
    assert len(flow.store.world.runs) == 1
    plan = flow.plan(Form.FROM, "c")
    assert (plan.instead, [source.gone is None for source in plan.sources]) == ("a", [False])


def test_a_workspace_that_no_runner_kept_says_so():
    flow = again(stage("a"), stage("b"))
    flow.perform("a", b="failed")
    with pytest.raises(Conflict, match="did not keep it"):
        flow.rerun(Form.FROM, "b")


def test_from_a_stage_on_runs_also_what_failed_beside_it():
    flow = again(stage("a"), stage("b", queue="gpu"), stage("side", needs=[]))
    flow.workspace = "kept"
    flow.perform("side", side="failed")
    flow.perform("a")
    flow.perform("b")
    flow.rerun(Form.FROM, "b")
    assert flow.standing() == {"a"}


def test_a_single_stage_leaves_what_failed_beside_it_as_it_is():
    flow = again(stage("g", parallel=[stage("a"), stage("b"), stage("c")]), stage("d"))
    flow.perform("a", a="failed")
    flow.perform("b", b="failed")
    flow.perform("c")
    flow.rerun(Form.STAGE, "a")
    assert flow.states() == {"a": "pending", "b": "failed", "c": "passed", "d": "pending"}
    flow.perform("a")
    assert (flow.ended(), flow.states()["d"]) == ("failed", "skipped")


def test_members_of_a_group_that_fails_as_one_go_on_together():
    flow = again(stage("g", parallel=[stage("a"), stage("b"), stage("c")], fail_fast=True))
    flow.perform("c")
    flow.perform("a", a="failed")
    assert flow.ended() == "failed"
    flow.rerun(Form.STAGE, "a")
    assert flow.states() == {"a": "pending", "b": "pending", "c": "passed"}


def test_a_group_is_named_by_its_own_key():
    flow = again(stage("a"), stage("m", matrix={"n": [1, 2]}))
    flow.workspace = "kept"
    for key in ("a", "m.1", "m.2"):
        flow.perform(key)
    flow.rerun(Form.FROM, "m")
    assert flow.standing() == {"a"}


def test_a_stage_behind_one_that_failed_cannot_be_begun_with():
    flow = again(stage("a"), stage("b"), stage("c", queue="gpu"))
    flow.perform("a", a="failed")
    for key in ("b", "c"):
        with pytest.raises(Conflict, match=f'"{key}" of example#1 cannot be begun with: "a" before it is failed'):
            flow.rerun(Form.FROM, key)


def test_a_stage_that_is_not_there_is_not_found():
    flow = again(stage("build"))
    flow.perform("build")
    with pytest.raises(NotFound, match='has no stage "biuld"; did you mean "build"'):
        flow.rerun(Form.FROM, "biuld")


def test_a_rerun_that_is_lost_before_it_came_on_begins_afresh_where_the_workspace_is():
    flow = again(stage("a"), stage("b"))
    flow.workspace = "kept"
    flow.perform("a", b="failed")
    flow.rerun(Form.FROM, "b")
    order = flow.claim("b")
    with flow.store.begin() as tx:
        job = tx.jobs.get(order.job)
        assert job is not None
        lose_job(job, Reason.SLOT_LOST, runner_lives=True, tx=tx)
    job = flow.job_of("b")
    assert (str(job.status), job.epoch) == ("queued", 2)
    assert flow.store.world.outbox[job.id, job.epoch][0] == "own:runner"


def test_another_file_runs_as_an_unpublished_version_and_stages_stand_by_their_keys():
    flow = again(stage("a"), stage("b"), stage("c", queue="gpu"))
    flow.workspace = "kept"
    flow.perform("a")
    flow.perform("c", c="failed")
    flow.definition = defined(stage("a"), stage("b"), stage("c", queue="gpu"), stage("d"))
    flow.rerun(Form.FAILED, source="edited")
    assert flow.standing() == {"a", "b"}
    version = flow.store.world.versions[flow.store.world.runs[flow.run_id].version_id]
    assert (version.lua, version.number) == ("edited", None)
    assert "defined_as" not in flow.store.world.runs[flow.run_id].facts


def test_another_file_in_which_other_stages_come_before_is_refused():
    flow = again(stage("a"), stage("b"))
    flow.workspace = "kept"
    flow.perform("a", b="failed")
    flow.definition = defined(stage("new"), stage("a"), stage("b"))
    with pytest.raises(Conflict, match='"new" before it is pending'):
        flow.rerun(Form.FROM, "b", source="edited")
    flow.definition = defined(stage("b"))
    flow.rerun(Form.FROM, "b", source="edited")
    assert flow.states() == {"b": "pending"}


def test_another_file_of_another_pipeline_is_refused():
    flow = again(stage("a"))
    flow.perform("a")
    flow.definition = replace(flow.definition, slug="other")
    with pytest.raises(Conflict, match='names the pipeline "other"'):
        flow.rerun(source="edited")
