"""Limits of a stage: lowered by pipelines, never raised, and told in words."""

from dataclasses import fields

import pytest

from rivet.domain.limits import BOUNDS, GIB, MIB, Limits, OverLimit
from rivet.domain.states import Reason
from rivet.wiring.settings import Settings


def test_a_pipeline_lowers_and_never_raises():
    lowered = Limits().lowered({"processes": 10, "open_files": 10**6, "log_lines": 100})
    assert (lowered.processes, lowered.open_files, lowered.log_lines) == (10, 4096, 100)
    assert lowered.memory == Limits().memory


def test_what_is_not_granted_is_told_with_its_setting():
    assert list(Limits().not_granted({"processes": 10, "workspace": 100 * GIB})) == [
        "limits.workspace: 100 GiB is more than this runner allows; it stays at 10 GiB (RIVET_MAX_WORKSPACE_MIB)"
    ]


def test_the_message_names_field_amount_and_setting():
    over = OverLimit("process_memory", 512 * MIB, 700 * MIB)
    assert over.reason is Reason.LIMIT_PROCESS_MEMORY
    assert str(over) == (
        "the stage is over its limit of 512 MiB for memory of its processes together, and it came to 700 MiB: "
        "limits.process_memory in the pipeline sets it, and the runner's operator its maximum "
        "(RIVET_MAX_PROCESS_MIB)"
    )


@pytest.mark.parametrize("name", BOUNDS)
def test_each_limit_is_a_setting_with_the_same_default(name):
    setting = BOUNDS[name].setting.removeprefix("RIVET_").lower()
    assert setting in Settings.model_fields
    assert getattr(Settings().limits(), name) == getattr(Limits(), name)


def test_no_limit_is_left_out():
    assert {field.name for field in fields(Limits)} == set(BOUNDS)
