"""Within a run that goes on: a stage that has ended is begun again, and what was skipped behind it with it."""

import pytest

from rivet.domain.errors import Conflict, NotFound
from rivet.engine.begin_again import begin_again
from rivet.engine.cancel_run import cancel_run
from rivet.engine.cancel_stage import cancel_stage
from rivet.engine.renew_lease import renew_lease

from .test_flow import stage
from .test_rerun import Again, again


def once_more(flow: Again, key: str) -> None:
    begin_again(flow.run_id, key, "bob", store=flow.store)


def test_a_stage_that_failed_is_begun_again_and_what_was_skipped_behind_it_comes():
    flow = again(stage("a"), stage("slow", needs=[]), stage("b", needs=["a"]), stage("c", needs=["b"]))
    flow.claim("slow")
    flow.perform("a", a="failed")
    assert flow.states() == {"a": "failed", "slow": "pending", "b": "skipped", "c": "skipped"}
    once_more(flow, "a")
    assert (flow.job_of("a").status, flow.job_of("a").epoch) == ("queued", 2)
    assert flow.states() == dict.fromkeys(("a", "slow", "b", "c"), "pending")
    order = flow.claim("a")
    assert order.stages[0].next_attempt == 2
    flow.finish(order)
    flow.perform("b")
    flow.perform("c")
    flow.perform("slow")
    assert flow.ended() == "passed"


def test_in_the_middle_of_a_job_it_begins_with_the_workspace_as_it_found_it():
    flow = again(stage("a"), stage("b"), stage("c"), stage("slow", needs=[]))
    flow.workspace = "kept"
    flow.claim("slow")
    flow.perform("a", b="failed")
    once_more(flow, "b")
    assert flow.states() == {"a": "passed", "b": "pending", "c": "pending", "slow": "pending"}
    job = flow.job_of("b")
    assert flow.store.world.outbox[job.id, job.epoch][0] == "own:runner"
    start = flow.claim("b").start
    assert start is not None
    assert (start.job, start.epoch, start.found_by) == (job.id, 1, "b")


def test_a_workspace_that_is_gone_is_said_and_nothing_has_changed():
    flow = again(stage("a"), stage("b"), stage("slow", needs=[]))
    flow.claim("slow")
    flow.perform("a", b="failed")
    with pytest.raises(Conflict, match="did not keep it; rerun the run when it has ended"):
        once_more(flow, "b")
    assert flow.states()["b"] == "failed"


def test_a_stage_that_was_cancelled_alone_is_not_cancelled_in_its_next_epoch():
    flow = again(stage("a"), stage("slow", needs=[]))
    flow.claim("slow")
    cancel_stage(flow.run_id, "a", "alice", store=flow.store)
    assert flow.states()["a"] == "cancelled"
    once_more(flow, "a")
    order = flow.claim("a")
    assert flow.stage_of("a").cancelled_by is None
    assert renew_lease(order.job, order.epoch, flow.session, store=flow.store).state == "ok"


def test_members_of_a_group_that_fails_as_one_are_begun_again_together():
    members = [stage("a"), stage("b"), stage("c")]
    flow = again(stage("g", parallel=members, fail_fast=True, max_parallel=1), stage("slow", needs=[]))
    flow.claim("slow")
    flow.perform("a", a="failed")
    assert flow.states() == {"a": "failed", "b": "skipped", "c": "skipped", "slow": "pending"}
    once_more(flow, "a")
    assert {key for key in "abc" if flow.job_of(key).status == "queued"} == {"a"}
    for key in "abc":
        flow.perform(key)
    assert flow.states() == {"a": "passed", "b": "passed", "c": "passed", "slow": "pending"}


def test_a_rejected_approval_is_asked_for_again():
    flow = again(stage("ask", approval={"message": "Go?"}), stage("slow", needs=[]))
    flow.claim("slow")
    cancel_stage(flow.run_id, "ask", "alice", store=flow.store)
    once_more(flow, "ask")
    assert flow.states()["ask"] == "waiting"


def test_a_run_that_has_just_ended_says_to_rerun_it():
    flow = again(stage("a"))
    flow.perform("a", a="failed")
    with pytest.raises(Conflict, match=r"example#1 has ended, failed: .*rivet runs rerun example#1 --stage a"):
        once_more(flow, "a")


def test_what_cannot_be_begun_again_says_why():
    flow = again(stage("a"), stage("b"), stage("slow", needs=[]), **{"finally": [stage("x")]})
    flow.workspace = "kept"
    slow = flow.claim("slow")
    flow.perform("a", a="failed")
    with pytest.raises(NotFound, match='no stage "z"'):
        once_more(flow, "z")
    with pytest.raises(Conflict, match='"b" of example#1 is skipped'):
        once_more(flow, "b")
    with pytest.raises(Conflict, match='"slow" of example#1 is pending'):
        once_more(flow, "slow")
    flow.finish(slow)
    with pytest.raises(Conflict, match="`finally` of example#1 has begun"):
        once_more(flow, "a")


def test_a_run_that_is_being_cancelled_begins_nothing():
    flow = again(stage("a"), stage("slow", needs=[]))
    flow.claim("slow")
    flow.perform("a", a="failed")
    cancel_run(flow.run_id, "alice", store=flow.store)
    with pytest.raises(Conflict, match="is being cancelled"):
        once_more(flow, "a")


def test_who_asked_is_recorded():
    flow = again(stage("a"), stage("slow", needs=[]))
    flow.claim("slow")
    flow.perform("a", a="failed")
    once_more(flow, "a")
    entries = [entry for entry in flow.store.world.records[flow.run_id] if isinstance(entry, tuple)]
    told = [data for kind, data in entries if kind == "begun_again"]
    assert [(one["stage"], one["actor"]) for one in told] == [("a", "bob")]
