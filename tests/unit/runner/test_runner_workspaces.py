"""Which workspace a job goes on from, of those that are on its runner."""

from pathlib import Path
from uuid import uuid4

import pytest

from rivet.domain.ids import Epoch, JobId
from rivet.domain.order import Start
from rivet.runner.folder import JobFolder
from rivet.runner.workspaces import WorkspaceLost, Workspaces


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
    Workspaces(jobs).keep(folder)
    folder.remove()
    assert started(jobs, job, 1) == "first"


def test_what_was_left_in_another_epoch_is_not_what_a_job_goes_on_from(jobs):
    job = JobId(uuid4())
    folder = left_by(jobs, job, 1, "lost")
    with pytest.raises(WorkspaceLost):
        started(jobs, job, 2)
    Workspaces(jobs).keep(folder)
    folder.remove()
    with pytest.raises(WorkspaceLost):
        started(jobs, job, 2)


def test_what_is_kept_of_a_job_that_is_begun_again_takes_the_place_of_what_was(jobs):
    job = JobId(uuid4())
    for epoch, text in ((1, "first"), (2, "second")):
        folder = left_by(jobs, job, epoch, text)
        Workspaces(jobs).keep(folder)
        folder.remove()
    assert started(jobs, job, 2) == "second"


def fetched(jobs: Path, source: JobId, epoch: int, text: str) -> JobFolder:
    folder = JobFolder(jobs, JobId(uuid4()))
    folder.workspace.mkdir(parents=True)
    (folder.workspace / "made").write_text(text)
    (folder.path / "uid").write_text("4711")
    Workspaces(jobs).keep_fetched(folder, Start(source, Epoch(epoch), is_shared=True))
    return folder


def test_what_was_fetched_for_one_job_is_there_for_those_that_start_from_the_same(jobs):
    source = JobId(uuid4())
    first = fetched(jobs, source, 1, "fetched")
    (first.workspace / "made").write_text("changed since")
    assert started(jobs, source, 1) == "fetched"
    assert Workspaces(jobs).kept() == [source]
    other = JobFolder(jobs, JobId(uuid4()))
    other.path.mkdir()
    Workspaces(jobs).start(other, Start(source, Epoch(1), is_shared=True), lambda _: None)
    assert (other.path / "uid").read_text() == "4711", "it belongs to the user who made it"


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
