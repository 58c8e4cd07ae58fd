"""What jobs hand on: which workspaces are stored, where followers are published, and what they bring."""

from dataclasses import replace

import pytest

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.errors import Fenced, InvalidInput
from rivet.domain.ids import StageKey
from rivet.domain.keeping import KeepConflict, conflict_of
from rivet.domain.order import Order
from rivet.engine.keep_files import keep_files
from rivet.engine.keep_snapshot import keep_snapshot

from .test_flow import Flow, flow, stage


def contents(name: str = "x") -> Contents:
    return Contents("tar", f"{name}.tar", "", 1, Manifest(1, "a" * 64, ("b" * 64,)))


def with_second(run: Flow, *queues: str) -> Flow:
    """Another runner is online beside the first."""
    first = run.store.world.runners["runner"]
    second = replace(first, name="second", queues=queues, session=run.store.world.uuid())
    run.store.world.runners["second"] = second
    return run


def store(run: Flow, order: Order) -> None:
    keep_snapshot(
        order.job, order.epoch, run.session, contents(order.stages[0].key), most_bytes=10, store=run.store
    )


def keep(run: Flow, order: Order, **paths: str) -> KeepConflict | None:
    key = order.stages[0].key
    return keep_files(
        order.job, order.epoch, run.session, key, contents(key), paths, most_bytes=10, store=run.store
    )


def queue_of(run: Flow, key: str) -> str:
    job = run.job_of(key)
    return run.store.world.outbox[job.id, job.epoch][0]


GROUP = stage("g", parallel=[stage("b"), stage("c")])


@pytest.mark.parametrize(
    ("following", "queues", "hands_on"),
    [
        ([], None, "nothing"),
        ([GROUP], None, "local"),
        ([GROUP], ("default",), "stored"),
        ([GROUP], ("gpu",), "local"),
        ([stage("b", queue="gpu")], None, "local"),
        ([stage("b", queue="gpu")], ("default",), "local"),
        ([stage("b", queue="gpu")], ("gpu",), "stored"),
        ([stage("b", queue="other")], None, "stored"),
        ([stage("ask", approval={})], None, "stored"),
    ],
)
def test_a_workspace_is_stored_where_another_runner_may_need_it(following, queues, hands_on):
    run = flow(stage("a"), *following)
    if queues is not None:
        with_second(run, *queues)
    assert run.claim("a").hands_on == hands_on


def test_what_follows_an_approval_that_only_asks_counts_as_well():
    run = flow(stage("a"), stage("ask", approval={}), stage("b", queue="gpu"))
    assert run.claim("a").hands_on == "stored"


def test_finally_alone_is_no_reason_to_store():
    run = with_second(flow(stage("a"), **{"finally": [stage("x")]}), "default")
    assert run.claim("a").hands_on == "local"


def test_what_goes_on_from_a_stored_workspace_goes_to_any_runner():
    run = with_second(flow(stage("a"), GROUP), "default")
    order = run.claim("a")
    store(run, order)
    run.finish(order)
    assert queue_of(run, "b") == "q:default"
    start = run.claim("b").start
    assert (start.job, start.stored) == (order.job, contents("a"))


def test_what_could_not_be_stored_stays_with_its_runner():
    run = with_second(flow(stage("a"), GROUP), "default")
    run.perform("a")
    assert queue_of(run, "b") == "own:runner"
    assert run.claim("b").start.stored is None


def test_a_stored_workspace_outlives_its_runner():
    run = with_second(flow(stage("a"), stage("b", queue="gpu"), **{"finally": [stage("x")]}), "gpu")
    order = run.claim("a")
    store(run, order)
    run.store.world.runners["runner"] = replace(run.store.world.runners["runner"], status="lost")
    run.finish(order)
    assert (queue_of(run, "b"), run.run_status) == ("q:gpu", "running")


def test_a_snapshot_of_an_earlier_epoch_is_none():
    run = with_second(flow(stage("a"), GROUP), "default")
    order = run.claim("a")
    store(run, order)
    job = run.job_of("a")
    run.store.world.jobs[job.id] = replace(job, epoch=job.epoch + 1)
    with pytest.raises(Fenced):
        store(run, order)
    again = run.claim("a")
    run.finish(again)
    assert queue_of(run, "b") == "own:runner"


def test_a_snapshot_is_bounded_and_a_tar():
    run = with_second(flow(stage("a"), GROUP), "default")
    order = run.claim("a")
    with pytest.raises(InvalidInput, match="the operator allows 0 B"):
        keep_snapshot(order.job, order.epoch, run.session, contents(), most_bytes=0, store=run.store)
    one = replace(contents(), form="file")
    with pytest.raises(InvalidInput, match="tar"):
        keep_snapshot(order.job, order.epoch, run.session, one, most_bytes=10, store=run.store)


def keeping(name: str, **fields: object) -> dict[str, object]:
    return stage(name, keep=["*"], **fields)


def test_the_main_line_brings_what_a_group_kept_once_and_in_order():
    run = flow(
        stage("a"), stage("g", parallel=[keeping("b"), keeping("c"), stage("d")]), stage("e"),
        stage("f", queue="gpu"),
    )
    run.perform("a")
    orders = {key: run.claim(key) for key in ("c", "b", "d")}
    assert [orders[key].stages[0].keep for key in ("b", "c", "d")] == [("*",), ("*",), ()]
    assert all(order.brings == () for order in orders.values())
    assert keep(run, orders["c"], y="1") is None
    assert keep(run, orders["b"], x="1") is None
    for order in orders.values():
        run.finish(order)
    later = run.claim("e")
    assert later.brings == (contents("b"), contents("c"))
    run.finish(later)
    assert run.claim("f").brings == ()


def test_a_stage_with_needs_brings_what_those_kept_alone():
    run = flow(
        keeping("a", needs=[]), keeping("b", needs=[]), stage("t", matrix={"n": [1, 2]}, keep=["*"], needs=[]),
        stage("c", needs=["t", "a"]), stage("d", needs=["b"]),
    )
    for key in ("b", "t.2", "t.1", "a"):
        order = run.claim(key)
        assert keep(run, order, **{key: "1"}) is None
        run.finish(order)
    assert run.claim("c").brings == (contents("a"), contents("t.1"), contents("t.2"))
    assert run.claim("d").brings == (contents("b"),)


def test_a_stage_that_nobody_needs_keeps_nothing_for_others():
    run = flow(keeping("a"), keeping("b", needs=["a"]))
    assert run.claim("a").stages[0].keep == ("*",)
    run.perform("a")
    assert run.claim("b").stages[0].keep == ()


def test_members_of_a_group_may_keep_the_same_but_not_different_content():
    run = flow(stage("g", parallel=[keeping("a"), keeping("b")]), stage("c"))
    a, b = run.claim("a"), run.claim("b")
    assert keep(run, a, x="1", same="2") is None
    assert keep(run, b, y="1", same="2") is None
    assert keep(run, b, x="2", same="2") == KeepConflict("x", StageKey("a"))
    assert keep(run, a, x="3") is None, "what a stage kept itself gives way"


def test_stages_of_different_groups_are_not_compared():
    run = flow(keeping("a", needs=[]), keeping("b", needs=[]), stage("c", needs=["a", "b"]))
    assert keep(run, run.claim("a"), x="1") is None
    assert keep(run, run.claim("b"), x="2") is None


@pytest.mark.parametrize(
    ("kept", "path"),
    [
        ({"x": "1"}, None),
        ({"x": "2"}, "x"),
        ({"z/a": "2"}, None),
        ({"x/a": "1"}, "x"),
        ({"d": "1"}, "d"),
        ({"d/e": "1", "y": "1"}, None),
    ],
)
def test_a_file_conflicts_with_another_content_and_with_a_folder(kept, path):
    found = conflict_of(kept, {StageKey("s"): {"x": "1", "d/e": "1"}})
    assert (found.path if found else None) == path
