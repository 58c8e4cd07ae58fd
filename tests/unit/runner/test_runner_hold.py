"""Whoever works in a job's folder is known, and nobody is once the work is over, however it ended."""

from uuid import UUID

import pytest

from rivet.domain.ids import JobId
from rivet.runner.folder import JobFolder

JOB = JobId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    folder = JobFolder(tmp_path, JOB)
    folder.path.mkdir()
    return folder


def test_a_folder_is_held_while_its_holder_works(folder):
    with folder.hold():
        assert folder.is_held()
    assert not folder.is_held()


def test_a_holder_that_fails_and_lives_on_holds_nothing(folder):
    with pytest.raises(OSError, match="full"), folder.hold():
        raise OSError("the disk is full")
    assert not folder.is_held()
