"""Which workspace a job goes on from, of those that are on its runner."""

import json
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from rivet.domain.ids import Epoch, JobId, RunId
from rivet.domain.order import Grants, HandsOn, Order, Start
from rivet.domain.runner import KeepingRule
from rivet.domain.states import OnLost
from rivet.runner.folder import JobFolder
from rivet.runner.found import CannotKeep, FoundWorkspaces
from rivet.runner.tree import MOST_DEPTH
from rivet.runner.workspaces import WorkspaceLost, Workspaces, note_end


def left_by(jobs: Path, job: JobId, epoch: int, text: str) -> JobFolder:
    """A job's folder as it worked in that epoch, with a file that says so."""
    folder = JobFolder(jobs, job)
    folder.workspace.mkdir(parents=True, exist_ok=True)
    (folder.path / f"order.{epoch}.json").write_text("{}")
    (folder.workspace / "made").write_text(text)
    return folder


@pytest.fixture
def jobs(tmp_path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


def started(jobs: Path, job: JobId, epoch: int) -> str:
    target = JobFolder(jobs, JobId(uuid4()))
    target.path.mkdir()
    Workspaces(jobs).start(target, Start(job, Epoch(epoch), is_shared=True), lambda _: None)
    return (target.workspace / "made").read_text()


def test_a_job_goes_on_from_where_another_works_or_from_what_was_kept_of_it(jobs):
    job = JobId(uuid4())
    folder = left_by(jobs, job, 1, "first")
    assert started(jobs, job, 1) == "first"
    Workspaces(jobs).keep(folder, HandsOn.LOCAL)
    folder.remove()
    assert started(jobs, job, 1) == "first"


def test_what_was_left_in_another_epoch_is_not_what_a_job_goes_on_from(jobs):
    job = JobId(uuid4())
    folder = left_by(jobs, job, 1, "lost")
    with pytest.raises(WorkspaceLost):
        started(jobs, job, 2)
    Workspaces(jobs).keep(folder, HandsOn.LOCAL)
    folder.remove()
    with pytest.raises(WorkspaceLost):
        started(jobs, job, 2)


def test_what_is_kept_of_a_job_that_is_begun_again_takes_the_place_of_what_was(jobs):
    job = JobId(uuid4())
    for epoch, text in ((1, "first"), (2, "second")):
        folder = left_by(jobs, job, epoch, text)
        Workspaces(jobs).keep(folder, HandsOn.LOCAL)
        folder.remove()
    assert started(jobs, job, 2) == "second"


def fetched(jobs: Path, source: JobId, epoch: int, text: str) -> JobFolder:
    folder = JobFolder(jobs, JobId(uuid4()))
    folder.workspace.mkdir(parents=True)
    (folder.workspace / "made").write_text(text)
    Workspaces(jobs).keep_fetched(folder, Start(source, Epoch(epoch), is_shared=True))
    return folder


def test_what_was_fetched_for_one_job_is_there_for_those_that_start_from_the_same(jobs):
    source = JobId(uuid4())
    first = fetched(jobs, source, 1, "fetched")
    (first.workspace / "made").write_text("changed since")
    assert started(jobs, source, 1) == "fetched"
    assert Workspaces(jobs).too_much(KeepingRule(3600.0, 0)) == [source]


def test_what_two_fetch_at_once_is_kept_once_and_of_another_epoch_not_at_all(jobs):
    source = JobId(uuid4())
    for text in ("one", "the same"):
        folder = fetched(jobs, source, 1, text)
        assert not (folder.path / "fetched.new").exists()
    assert started(jobs, source, 1) == "one"
    fetched(jobs, source, 2, "begun again")
    assert started(jobs, source, 2) == "begun again"
    with pytest.raises(WorkspaceLost):
        started(jobs, source, 1)


def found_so(jobs: Path, job: JobId, *, hands_on: HandsOn = HandsOn.NOTHING) -> JobFolder:
    """A job of three stages that has ended: `b` found what `a` made, `c` what `b` made of it."""
    folder = left_by(jobs, job, 1, "by a")
    (folder.workspace / "large").write_bytes(b"x" * 100_000)
    found = FoundWorkspaces(folder.path)
    assert found.note("b", folder.workspace, is_needed=False) == "kept"
    (folder.workspace / "made").write_text("by b")
    assert found.note("c", folder.workspace, is_needed=False) == "kept"
    (folder.workspace / "made").write_text("by c")
    note_end(folder)
    Workspaces(jobs).keep(folder, hands_on)
    folder.remove()
    return folder


def begun_at(jobs: Path, job: JobId, stage: str) -> JobFolder:
    target = JobFolder(jobs, JobId(uuid4()))
    target.path.mkdir()
    start = Start(job, Epoch(1), is_shared=True, found_by=stage)
    Workspaces(jobs).start(target, start, lambda _: None)
    return target


@pytest.mark.parametrize("hands_on", [HandsOn.NOTHING, HandsOn.LOCAL])
def test_a_rerun_begins_with_the_workspace_as_its_stage_found_it_as_often_as_it_is_asked_for(jobs, hands_on):
    job = JobId(uuid4())
    found_so(jobs, job, hands_on=hands_on)
    for stage, text in (("c", "by b"), ("b", "by a"), ("c", "by b")):
        folder = begun_at(jobs, job, stage)
        assert (folder.workspace / "made").read_text() == text
        assert (folder.workspace / "large").stat().st_size == 100_000
        (folder.workspace / "large").write_text("changed")


def test_a_spare_workspace_is_taken_over_and_one_that_others_start_from_is_not(jobs):
    for hands_on in (HandsOn.NOTHING, HandsOn.LOCAL):
        job = JobId(uuid4())
        kept = jobs.parent / "kept" / str(job)
        found_so(jobs, job, hands_on=hands_on)
        was = (kept / "workspace" / "large").stat().st_ino
        folder = begun_at(jobs, job, "c")
        assert ((folder.workspace / "large").stat().st_ino == was) == (hands_on is HandsOn.NOTHING)
        assert (kept / "workspace").exists() == (hands_on is HandsOn.LOCAL)


def test_what_a_rerun_began_with_outlives_the_run_that_it_came_from(jobs):
    job = JobId(uuid4())
    found_so(jobs, job)
    folder = begun_at(jobs, job, "c")
    Workspaces(jobs).let_go(job)
    (folder.workspace / "made").write_text("by the rerun")
    assert FoundWorkspaces(folder.path).bring_back("c", folder.workspace, None)
    assert (folder.workspace / "made").read_text() == "by b"
    with pytest.raises(WorkspaceLost):
        begun_at(jobs, job, "c")


def test_a_stage_that_is_not_known_has_found_nothing(jobs):
    job = JobId(uuid4())
    found_so(jobs, job)
    with pytest.raises(WorkspaceLost):
        begun_at(jobs, job, "z")


def test_a_spare_is_not_what_another_job_goes_on_from(jobs):
    job = JobId(uuid4())
    found_so(jobs, job)
    with pytest.raises(WorkspaceLost):
        started(jobs, job, 1)


def test_nobody_but_the_runner_gets_at_what_is_kept(jobs):
    job = JobId(uuid4())
    found_so(jobs, job)
    folder = begun_at(jobs, job, "c")
    for place in (jobs.parent / "kept", jobs.parent / "kept" / str(job), folder.path / "found"):
        assert place.stat().st_mode & 0o077 == 0, place


def test_where_nothing_has_changed_the_copy_before_stands_for_the_next(jobs):
    folder = left_by(jobs, JobId(uuid4()), 1, "made")
    found = FoundWorkspaces(folder.path)
    for stage in ("b", "c"):
        found.note(stage, folder.workspace, is_needed=False)
    assert not (folder.path / "found" / "c" / "tree").exists()
    (folder.workspace / "made").write_text("other")
    assert found.bring_back("c", folder.workspace, None)
    assert (folder.workspace / "made").read_text() == "made"


def test_an_empty_workspace_leaves_nothing_unless_it_is_needed_again(jobs):
    folder = JobFolder(jobs, JobId(uuid4()))
    folder.workspace.mkdir(parents=True)
    found = FoundWorkspaces(folder.path)
    assert found.note("b", folder.workspace, is_needed=False) == "empty"
    assert not found.is_there
    assert found.note("b", folder.workspace, is_needed=True) == "empty"
    (folder.workspace / "rest").write_text("of an attempt")
    assert found.bring_back("b", folder.workspace, None)
    assert list(folder.workspace.iterdir()) == []


def test_no_more_is_kept_of_a_job_than_is_allowed_unless_it_is_needed(jobs):
    folder = left_by(jobs, JobId(uuid4()), 1, "made")
    found = FoundWorkspaces(folder.path)
    found.note("b", folder.workspace, is_needed=False, most_bytes=3)
    with pytest.raises(CannotKeep, match="RIVET_KEPT_MIB"):
        found.note("c", folder.workspace, is_needed=False, most_bytes=3)
    assert found.note("c", folder.workspace, is_needed=True, most_bytes=3) == "kept"


def test_what_cannot_be_copied_is_said_and_leaves_nothing(jobs):
    folder = left_by(jobs, JobId(uuid4()), 1, "made")
    inner = folder.workspace
    for _ in range(MOST_DEPTH + 2):
        inner = inner / "d"
        inner.mkdir()
    found = FoundWorkspaces(folder.path)
    with pytest.raises(CannotKeep, match="deep"):
        found.note("b", folder.workspace, is_needed=True)
    assert not found.bring_back("b", folder.workspace, None)
    other = JobFolder(jobs, JobId(uuid4()))
    other.path.mkdir()
    job = JobId(UUID(folder.path.name))
    Workspaces(jobs).start(other, Start(job, Epoch(1), is_shared=True), lambda _: None)
    assert (other.workspace / "made").read_text() == "made"


def test_the_oldest_goes_first_by_size_and_by_age_and_since_when_all_is_there_is_told(jobs):
    workspaces = Workspaces(jobs)
    assert workspaces.since_s() < 60
    kept = [JobId(uuid4()) for _ in range(3)]
    for job, age in zip(kept, (300, 200, 100), strict=True):
        found_so(jobs, job)
        place = jobs.parent / "kept" / str(job)
        (place / "note").write_text(json.dumps({"at": time.time() - age, "size": 10, "is_fetched": False}))
    assert workspaces.too_much(KeepingRule(3600.0, 100)) == []
    assert workspaces.too_much(KeepingRule(3600.0, 20)) == kept[:1]
    assert workspaces.too_much(KeepingRule(150.0, 100)) == kept[:2]
    (jobs.parent / "kept" / "since").write_text("0")
    workspaces.let_go(kept[0])
    assert 295 < workspaces.since_s() < 360
    assert workspaces.too_much(KeepingRule(3600.0, 20)) == []
    assert Workspaces(jobs).too_much(KeepingRule(0.0, 20)) == kept[1:]


def an_order(job: JobId, hands_on: HandsOn) -> Order:
    return Order(
        job=job, run=RunId(uuid4()), epoch=Epoch(1), project="default", pipeline="p", number=1, lua="", digest="",
        inputs={}, outputs={}, facts={}, stages=(), env={}, grants=Grants(), limits={}, isolation=None,
        on_lost=OnLost.ERROR, timeout_left_s=60.0, hands_on=hands_on,
    )  # fmt: skip


@pytest.mark.parametrize("hands_on", [HandsOn.NOTHING, HandsOn.LOCAL])
def test_the_workspace_of_a_job_that_has_just_ended_is_taken_over_as_well(jobs, hands_on):
    job = JobId(uuid4())
    folder = left_by(jobs, job, 1, "by a")
    FoundWorkspaces(folder.path).note("b", folder.workspace, is_needed=False)
    folder.write_order(an_order(job, hands_on))
    was = (folder.workspace / "made").stat().st_ino
    begun = begun_at(jobs, job, "b")
    assert ((begun.workspace / "made").stat().st_ino == was) == (hands_on is HandsOn.NOTHING)
    assert folder.workspace.exists() == (hands_on is HandsOn.LOCAL)
