"""Which jobs the stages of a pipeline form, what they wait for, and how a run goes through them."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rivet.domain.definition_rules import read_definition
from rivet.domain.errors import Conflict, Forbidden, InvalidInput, NotFound
from rivet.domain.ids import JobId, RunId, SessionId
from rivet.domain.job import Job
from rivet.domain.order import Order
from rivet.domain.pipeline import Definition, Function
from rivet.domain.record import Record, RecordType
from rivet.domain.states import JobStatus, RunStatus
from rivet.engine.admit_runs import admit_runs
from rivet.engine.answer_approval import approve, reject
from rivet.engine.cancel_run import cancel_run
from rivet.engine.claim_job import claim_job
from rivet.engine.expand_matrix import expand_matrices
from rivet.engine.ingest_records import ingest_records
from rivet.engine.plan_pipeline import plan_pipeline
from rivet.engine.ports import CannotEvaluate
from rivet.engine.register_runner import Registration, register_runner
from rivet.engine.renew_lease import renew_lease
from rivet.engine.settle_job import settle_job
from rivet.engine.start_run import StartRequest, start_run
from rivet.engine.watch_approvals import watch_approvals

from .conftest import LEASE_S, Ids, KnowingEvaluator, PlainTickets
from .memory_store import MemoryStore, a_token

F = Function(1)


def stage(name: str, **fields: Any) -> dict[str, Any]:
    work = {} if {"parallel", "approval"} & fields.keys() else {"script": F}
    return {"name": name, **work, **fields}


def defined(*stages: dict[str, Any], **fields: Any) -> Definition:
    definition, findings = read_definition({"name": "Example", "stages": list(stages), **fields}, resolved=True)
    assert definition is not None, findings
    return definition


@dataclass
class Flow:
    """A run that goes through its jobs on one runner, as fast as a test says so."""

    definition: Definition
    given: Any = None
    workspace: str | None = None
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.session: SessionId = register_runner(
            Registration("runner", ("default", "gpu"), 8, "namespaces", "0", 1, None),
            a_token("default", "gpu"), store=self.store, ids=Ids(self.store), lease_s=LEASE_S,
        )

    def start(self) -> RunId:
        return start_run(
            StartRequest("default", "example", {}, "source", None, False, "alice", "cli"),
            store=self.store, evaluator=KnowingEvaluator(self.definition, self.given), ids=Ids(self.store),
        )

    def job_of(self, key: str) -> Job:
        found = next(stage for stage in self.store.world.stages.values() if stage.key == key)
        return self.store.world.jobs[found.job_id]

    def claim(self, key: str) -> Order:
        job = self.job_of(key)
        return claim_job(
            job.id, self.session, job.epoch, 1, a_token("default", "gpu"), store=self.store,
            tickets=PlainTickets(),
        )

    def perform(self, key: str, **ends: str) -> None:
        """Run the whole job of that stage: each passes, unless `ends` says how it ends."""
        self.finish(self.claim(key), **ends)

    def finish(self, order: Order, **ends: str) -> None:
        records: list[Record] = []

        def say(type: RecordType, stage: str | None = None, attempt: int | None = None, **data: Any) -> None:
            at = "2030-01-01T00:00:00Z"
            records.append(Record(order.job, order.epoch, len(records) + 1, at, type, stage, attempt, data))

        broken = False
        found = {} if self.workspace is None else {"workspace": self.workspace}
        for each in order.stages:
            if each.status not in ("pending", "running"):
                continue
            if broken:
                say(RecordType.STAGE_SKIPPED, each.key, reason="earlier_failure")
                continue
            how = ends.get(each.key.replace("-", "_").replace(".", "_"), "passed")
            if how == "skipped_by_rule":
                say(RecordType.STAGE_SKIPPED, each.key, reason="skipped_by_rule")
                continue
            say(RecordType.ATTEMPT_STARTED, each.key, each.next_attempt, **found)
            code = 3 if how == "failed" else None
            say(RecordType.ATTEMPT_ENDED, each.key, each.next_attempt, status=how, exit_code=code)
            broken = how != "passed" and not each.forgives(code)
        say(RecordType.JOB_DONE, **found)
        ingest_records(self.store.world.jobs[order.job].runner or "", records, store=self.store)
        settle_job(order.job, order.epoch, store=self.store)

    def states(self) -> dict[str, str]:
        ordered = sorted(self.store.world.stages.values(), key=lambda stage: stage.ordinal)
        return {str(stage.key): str(stage.status) for stage in ordered}

    def jobs(self, status: JobStatus) -> set[str]:
        """Keys of the stages whose job is in that state."""
        return {
            str(stage.key) for stage in self.store.world.stages.values()
            if self.store.world.jobs[stage.job_id].status is status
        }

    @property
    def queued(self) -> set[str]:
        return self.jobs(JobStatus.QUEUED)

    @property
    def run_status(self) -> RunStatus:
        return self.store.run().status


def flow(*stages: dict[str, Any], **fields: Any) -> Flow:
    made = Flow(defined(*stages, **fields))
    made.start()
    return made


def shape(*stages: dict[str, Any], **fields: Any) -> list[tuple[list[str], list[int], int | None]]:
    """Of each job: its stages, the numbers of the jobs that it waits for, and of the one it starts from."""
    planned = plan_pipeline(defined(*stages, **fields), RunId(JobId.__supertype__(int=1)), Ids(MemoryStore()))
    number = {job.id: job.ordinal for job in planned.jobs}
    return [
        (
            [str(stage.key) for stage in planned.stages if stage.job_id == job.id],
            sorted(number[other] for other in job.waits_for),
            None if job.starts_from is None else number[job.starts_from],
        )
        for job in planned.jobs
    ]


def test_a_plain_pipeline_is_one_job():
    assert shape(stage("a"), stage("b"), stage("c")) == [(["a", "b", "c"], [], None)]


def test_another_queue_begins_a_new_job_which_goes_on_from_the_workspace():
    assert shape(stage("a"), stage("b", queue="gpu"), stage("c")) == [
        (["a"], [], None), (["b"], [1], 1), (["c"], [1, 2], 2),
    ]


def test_members_of_parallel_are_jobs_side_by_side_and_what_follows_waits_for_all():
    assert shape(stage("a"), stage("g", parallel=[stage("b"), stage("c")]), stage("d")) == [
        (["a"], [], None), (["b"], [1], 1), (["c"], [1], 1), (["d"], [1, 2, 3], 1),
    ]


def test_a_matrix_is_a_copy_a_combination():
    matrix = {"os": ["a", "b"], "n": [1, 2]}
    planned = plan_pipeline(
        defined(stage("test", matrix=matrix, exclude=[{"os": "b", "n": 1}])),
        RunId(JobId.__supertype__(int=1)), Ids(MemoryStore()),
    )
    assert [(stage.key, stage.name, stage.spec.row) for stage in planned.stages] == [
        ("test.1", "test [n=1, os=a]", {"n": 1, "os": "a"}),
        ("test.2", "test [n=2, os=a]", {"n": 2, "os": "a"}),
        ("test.3", "test [n=2, os=b]", {"n": 2, "os": "b"}),
    ]


def test_needs_wait_for_those_alone_and_start_afresh():
    assert shape(stage("a"), stage("b"), stage("c", needs=["a"]), stage("d")) == [
        (["a"], [], None), (["b"], [1], 1), (["c"], [1], None), (["d"], [1, 2, 3], 2),
    ]
    assert shape(stage("a", needs=["c"]), stage("b", needs=[]), stage("c", needs=[])) == [
        (["a"], [3], None), (["b"], [], None), (["c"], [], None),
    ]


def test_finally_is_a_job_of_its_own_that_waits_for_nothing_in_particular():
    last = {"finally": [stage("x"), stage("y")]}
    assert shape(stage("a"), **last) == [(["a"], [], None), (["x", "y"], [], 1)]


@pytest.mark.parametrize(
    ("stages", "code"),
    [
        ([stage("a", needs=["b"]), stage("b", needs=["a"])], "cycle"),
        ([stage("a", needs=["b"]), stage("b")], "cycle"),
        ([stage("a", needs=["nobody"])], "unknown-stage"),
        ([stage("a", matrix={"n": list(range(300))})], "bad-matrix"),
        ([stage("a", matrix={})], "bad-matrix"),
        ([stage("a", matrix={"n": []})], "bad-matrix"),
        ([stage("a", matrix={"n": [1]}, exclude=[{"n": 1}])], "bad-matrix"),
        ([stage("g", parallel=[stage("a"), stage("a")])], "duplicate-name"),
        ([stage("g", parallel=[stage("h", parallel=[stage("a")])])], "misplaced-field"),
        ([stage("a", fail_fast=True)], "misplaced-field"),
        ([stage("a", retry=0)], "out-of-range"),
        ([stage("a", retry={"attempts": 2, "on": ["sometimes"]})], "wrong-type"),
        ([stage("a", allow_failure=["x"])], "wrong-type"),
        ([stage("a", keep=["../out"])], "wrong-type"),
        ([stage("a", approval={"message": 3})], "wrong-type"),
    ],
)
def test_what_makes_no_sense_is_refused(stages, code):
    definition, findings = read_definition({"name": "Example", "stages": stages}, resolved=True)
    assert definition is None
    assert code in {finding.code for finding in findings}, findings


def test_jobs_begin_when_what_they_wait_for_has_passed():
    run = flow(stage("a"), stage("g", parallel=[stage("b"), stage("c")]), stage("d"))
    assert run.queued == {"a"}
    run.perform("a")
    assert run.queued == {"b", "c"}
    run.perform("b")
    assert run.queued == {"c"}
    run.perform("c")
    assert run.queued == {"d"}
    run.perform("d")
    assert run.run_status is RunStatus.PASSED


def test_a_failed_member_fails_the_group_and_what_follows_is_skipped():
    run = flow(stage("g", parallel=[stage("b"), stage("c")]), stage("d"), stage("e"))
    run.perform("b", b="failed")
    assert run.queued == {"c"}
    run.perform("c")
    assert run.states() == {"b": "failed", "c": "passed", "d": "skipped", "e": "skipped"}
    assert run.run_status is RunStatus.FAILED


def test_fail_fast_ends_the_others():
    run = flow(stage("g", parallel=[stage("b"), stage("c"), stage("d")], fail_fast=True, max_parallel=2))
    assert run.queued == {"b", "c"}
    order = run.claim("c")
    run.perform("b", b="failed")
    assert run.states() == {"b": "failed", "c": "pending", "d": "skipped"}
    assert renew_lease(order.job, order.epoch, run.session, store=run.store).state == "cancelled"
    run.finish(order, c="cancelled")
    assert run.run_status is RunStatus.FAILED


def test_max_parallel_bounds_how_many_are_at_work():
    run = flow(stage("t", matrix={"n": [1, 2, 3, 4]}, max_parallel=2))
    assert run.queued == {"t.1", "t.2"}
    run.perform("t.1")
    assert run.queued == {"t.2", "t.3"}


def test_a_failure_elsewhere_does_not_stop_what_does_not_need_it():
    run = flow(stage("a", needs=[]), stage("b", needs=[]), stage("c", needs=["b"]))
    run.perform("a", a="failed")
    run.perform("b")
    assert run.queued == {"c"}
    run.perform("c")
    assert (run.run_status, run.states()) == (RunStatus.FAILED, {"a": "failed", "b": "passed", "c": "passed"})


def test_what_was_skipped_by_rule_holds_nothing_up():
    run = flow(stage("a"), stage("b", queue="gpu"))
    run.perform("a", a="skipped_by_rule")
    run.perform("b")
    assert (run.run_status, run.states()) == (RunStatus.PASSED, {"a": "skipped", "b": "passed"})


def test_a_failure_that_is_allowed_warns():
    run = flow(stage("a", allow_failure=[3]), stage("b"))
    run.perform("a", a="failed")
    assert (run.run_status, run.states()) == (RunStatus.PASSED, {"a": "warned", "b": "passed"})
    other = flow(stage("a", allow_failure=[4]))
    other.perform("a", a="failed")
    assert other.run_status is RunStatus.FAILED


@pytest.mark.parametrize(("how", "end"), [("passed", RunStatus.PASSED), ("failed", RunStatus.FAILED)])
def test_finally_runs_whatever_happened_and_knows_it(how, end):
    run = flow(stage("a"), **{"finally": [stage("x")]})
    run.perform("a", a=how)
    assert run.queued == {"x"}
    order = run.claim("x")
    assert (order.facts["status"], order.facts["failed_stage"]) == (end, None if how == "passed" else "a")
    run.finish(order)
    assert run.run_status is end


def test_a_finally_that_fails_fails_a_run_that_would_have_passed():
    run = flow(stage("a"), **{"finally": [stage("x")]})
    run.perform("a")
    run.perform("x", x="failed")
    assert run.run_status is RunStatus.FAILED


def test_finally_runs_after_a_cancel_for_five_minutes_and_a_second_one_ends_it():
    run = flow(stage("a"), stage("b", queue="gpu"), **{"finally": [stage("x")]})
    order = run.claim("a")
    cancel_run(run.store.run().id, "bob", store=run.store)
    assert run.states()["b"] == "cancelled"
    run.finish(order, a="cancelled")
    last = run.claim("x")
    assert (last.timeout_left_s, last.facts["status"]) == (300, "cancelled")
    assert renew_lease(last.job, last.epoch, run.session, store=run.store).state == "ok"
    cancel_run(run.store.run().id, "bob", store=run.store)
    assert renew_lease(last.job, last.epoch, run.session, store=run.store).state == "cancelled"
    run.finish(last, x="cancelled")
    assert run.run_status is RunStatus.CANCELLED


def test_a_run_that_had_not_begun_ends_at_once_without_its_finally():
    run = flow(stage("a"), **{"finally": [stage("x")]})
    cancel_run(run.store.run().id, "bob", store=run.store)
    assert (run.run_status, run.states()) == (RunStatus.CANCELLED, {"a": "cancelled", "x": "cancelled"})


def test_a_job_goes_on_on_the_runner_that_has_the_workspace():
    run = flow(stage("a"), stage("b", queue="gpu"), **{"finally": [stage("x")]})
    run.perform("a")
    job = run.job_of("b")
    assert run.store.world.outbox[job.id, job.epoch][0] == "own:runner"
    order = run.claim("b")
    assert (order.start.job, order.start.is_shared, order.hands_on) == (run.job_of("a").id, True, "local")


def test_a_workspace_that_is_gone_with_its_runner_ends_the_run():
    run = flow(stage("a"), stage("b", queue="gpu"))
    order = run.claim("a")
    runner = run.store.world.runners["runner"]
    run.store.world.runners["runner"] = replace(runner, status="lost")
    run.finish(order)
    assert (run.run_status, run.store.run().reason) == (RunStatus.ERRORED, "workspace_lost")


def waiting(**approval: Any) -> Flow:
    run = flow(stage("a"), stage("ask", approval=approval), stage("b"))
    run.perform("a")
    return run


def test_an_approval_waits_for_a_person_and_holds_nothing():
    run = waiting(message="Deploy?", inputs={"where": {"type": "string", "options": ["here", "there"]}})
    assert (run.run_status, run.states()["ask"], run.queued) == (RunStatus.WAITING, "waiting", set())
    run.store.pass_time(1000)
    with pytest.raises(InvalidInput, match="where"):
        approve(run.store.run().id, "ask", "bob", {"where": "nowhere"}, store=run.store)
    approve(run.store.run().id, "ask", "bob", {"where": "here"}, store=run.store)
    approve(run.store.run().id, "ask", "bob", {"where": "there"}, store=run.store)
    assert (run.run_status, run.states()["ask"]) == (RunStatus.RUNNING, "passed")
    order = run.claim("b")
    assert order.outputs == {"where": "here"}
    run.finish(order)
    assert run.run_status is RunStatus.PASSED


def test_an_approval_with_a_script_runs_it_when_it_was_given():
    run = flow(stage("ask", approval={"message": "Go?", "inputs": {"where": {"type": "string"}}}, script=F))
    assert run.run_status is RunStatus.WAITING
    approve(run.store.run().id, "ask", "bob", {"where": "here"}, store=run.store)
    order = run.claim("ask")
    assert order.outputs == {"where": "here"}
    run.finish(order)
    assert run.store.world.outputs[run.store.run().id, "ask", "where"] == "here"
    assert run.run_status is RunStatus.PASSED


def test_an_approval_that_is_the_last_stage_ends_the_run():
    run = flow(stage("a"), stage("ask", approval={}))
    run.perform("a")
    approve(run.store.run().id, "ask", "bob", {}, store=run.store)
    assert run.run_status is RunStatus.PASSED


def test_a_rejection_fails_the_run():
    run = waiting()
    reject(run.store.run().id, "ask", "bob", "not today", store=run.store)
    reject(run.store.run().id, "ask", "bob", "not today", store=run.store)
    assert run.states() == {"a": "passed", "ask": "failed", "b": "skipped"}
    assert (run.run_status, run.store.run().reason) == (RunStatus.FAILED, "rejected")


def test_only_those_who_are_named_may_answer_and_only_while_asked():
    run = waiting(approvers=["carol"])
    with pytest.raises(Forbidden, match="asks carol, and you are bob"):
        approve(run.store.run().id, "ask", "bob", {}, store=run.store)
    with pytest.raises(NotFound, match="those that ask are ask"):
        approve(run.store.run().id, "a", "carol", {}, store=run.store)
    reject(run.store.run().id, "ask", "carol", "", store=run.store)
    with pytest.raises(Conflict, match="failed"):
        approve(run.store.run().id, "ask", "carol", {}, store=run.store)


def test_an_approval_expires():
    run = waiting(timeout=60)
    assert watch_approvals(store=run.store) == 0
    run.store.pass_time(61)
    assert watch_approvals(store=run.store) == 1
    assert (run.run_status, run.store.run().reason) == (RunStatus.TIMED_OUT, "expired")


def test_an_approval_is_pointless_once_a_newer_run_has_passed():
    run = waiting()
    older = run.store.run().id
    newer = replace(run.store.run(), id=RunId(run.store.world.uuid()), number=2, status=RunStatus.PASSED)
    run.store.world.runs[newer.id] = newer
    assert watch_approvals(store=run.store) == 1
    assert (run.store.world.runs[older].status, run.store.world.runs[older].reason) == ("cancelled", "superseded")


def test_cancelling_a_run_that_waits_ends_it():
    run = waiting()
    cancel_run(run.store.run().id, "bob", store=run.store)
    assert (run.run_status, run.states()["ask"]) == (RunStatus.CANCELLED, "cancelled")


def reach(run: Flow, given: Any) -> None:
    expand_matrices(
        run.store.run().id, store=run.store, evaluator=KnowingEvaluator(run.definition, given), ids=Ids(run.store)
    )


def test_a_matrix_of_a_function_is_expanded_when_it_is_reached():
    run = flow(stage("a"), stage("t", matrix=F, exclude=[{"n": 3}]), stage("b"))
    reach(run, [{"n": 1}])
    assert run.states() == {"a": "passed", "t": "pending", "b": "pending"} | {"a": "pending"}
    run.perform("a")
    assert run.store.world.reached == [run.store.run().id]
    reach(run, [{"n": 1}, {"n": 2}, {"n": 3}])
    reach(run, [{"n": 1}, {"n": 2}])
    assert list(run.states()) == ["a", "t.1", "t.2", "b"]
    assert run.queued == {"t.1", "t.2"}
    assert run.claim("t.2").stages[0].row == {"n": 2}
    run.perform("t.1")
    assert run.queued == set()
    run.perform("t.2")
    run.perform("b")
    assert run.run_status is RunStatus.PASSED


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "at least one row"),
        ([{"n": n} for n in range(300)], "at most 256 combinations, and these are 300"),
        (CannotEvaluate("rivet.lua:3: no"), "it failed: rivet.lua:3: no"),
        ("text", "a list of at least one row"),
    ],
)
def test_a_matrix_of_a_function_that_gives_no_rows_fails_its_stage(given, told):
    run = Flow(defined(stage("t", matrix=F), stage("b")), given)
    run.start()
    assert (run.run_status, run.states()) == (RunStatus.FAILED, {"t": "failed", "b": "skipped"})
    attempt, = run.store.world.attempts.values()
    assert told in attempt.error["message"]


def turns(run: Flow) -> list[str]:
    ordered = sorted(run.store.world.runs.values(), key=lambda each: each.number)
    return [f"{each.status}/{each.reason}" for each in ordered]


def test_runs_of_a_group_take_turns_in_order_and_none_is_dropped():
    run = flow(stage("a"), concurrency={"group": "deploy"})
    run.start()
    run.start()
    assert turns(run) == ["queued/None", "queued/concurrency", "queued/concurrency"]
    run.perform("a")
    admit_runs(*run.store.world.turns[-1], store=run.store)
    assert turns(run) == ["passed/None", "queued/None", "queued/concurrency"]
    assert run.queued == {"a"}


def test_as_many_go_at_once_as_the_group_says():
    run = flow(stage("a"), concurrency={"group": "deploy", "limit": 2})
    run.start()
    run.start()
    assert turns(run) == ["queued/None", "queued/None", "queued/concurrency"]


def test_a_newer_run_may_end_the_one_that_goes_on():
    run = flow(stage("a"), concurrency={"group": "deploy", "cancel_running": True})
    run.start()
    assert turns(run) == ["cancelled/cancelled_by", "queued/concurrency"]
    older = min(run.store.world.runs.values(), key=lambda each: each.number)
    assert older.cancelled_by == "example#2, which takes its turn"
    admit_runs(*run.store.world.turns[-1], store=run.store)
    assert turns(run) == ["cancelled/cancelled_by", "queued/None"]


def test_a_run_that_waits_for_its_turn_can_be_cancelled():
    run = flow(stage("a"), concurrency={"group": "deploy"})
    waiting_one = run.start()
    cancel_run(waiting_one, "bob", store=run.store)
    assert turns(run) == ["queued/None", "cancelled/cancelled_by"]
