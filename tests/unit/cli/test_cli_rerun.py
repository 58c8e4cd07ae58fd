"""What `rivet runs rerun` says before it starts."""

from typing import Any

from rivet.cli.rerun import described


def source(**told: Any) -> dict[str, Any]:
    plain = {"what": "workspace", "stage": "b", "needed_by": "b", "runner": None, "until": None, "gone": None}
    return {**plain, "is_needed": True, **told}


def lines(
    *sources: dict[str, Any],
    again: tuple[str, ...] = ("b",),
    stand: tuple[str, ...] = (),
    logs: tuple[dict[str, Any], ...] = (),
) -> list[str]:
    stands = [{"stage": key, "status": "passed", "run": "x"} for key in stand]
    told = {"again": list(again), "stand": stands, "sources": list(sources), "logs": list(logs)}
    return list(described(told, "p#1"))


def test_what_runs_again_and_what_stands_is_said_in_two_lines():
    assert lines(stand=("a",)) == ["again   b", "stands  a: as they ended in p#1, with their logs there"]


def test_logs_of_what_stands_are_said_with_until_when_or_why_they_are_gone():
    there = {"run": "x", "name": "p#1", "until": "2030-01-02T03:04:05Z", "gone": None}
    deleted = {"run": "y", "name": None, "until": None, "gone": "that run has been deleted"}
    assert lines(logs=(there, deleted))[1:] == [
        "has     the logs of p#1 until 2030-01-02 at least", "gone    the logs of y: that run has been deleted",
    ]  # fmt: skip


def test_many_stages_are_counted():
    (said,) = lines(again=tuple(f"s{number}" for number in range(15)))
    assert said.endswith("s11 and 3 more")


def test_what_is_there_is_said_with_where_and_until_when():
    until = "2030-01-02T03:04:05Z"
    assert lines(
        source(runner="one", until=until),
        source(stage="a", until=until),
        source(what="files", stage="a"),
        source(what="folder"),
    )[1:] == [
        "has     the workspace as b found it, on one until 2030-01-02 03:04 UTC at the latest",
        "has     the workspace that a left, for b, on the server until 2030-01-02 03:04 UTC at the latest",
        "has     the files that a kept, on the server",
        "has     the folder that the run was started with, on the server",
    ]


def test_what_is_gone_is_said_with_why():
    assert lines(source(gone="the runner one has let go of it"), source(stage="a", gone="x", is_needed=False))[1:] == [
        "gone    the workspace as b found it: the runner one has let go of it",
        "gone    the workspace that a left, for b: x; it goes without",
    ]
