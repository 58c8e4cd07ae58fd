"""A line of a log: what it says in text and in JSON, what it is about, and what never is in it."""

import json
import logging
import sys

import pytest

from rivet.telemetry.logs import about, formatter, now_about


@pytest.fixture(autouse=True)
def _about_nothing():
    now_about()
    yield
    now_about()


def line(form, message, *values, fault=None):
    return formatter(form).format(
        logging.LogRecord("rivet.here", logging.WARNING, "f.py", 1, message, values, fault)
    )


def test_a_line_of_json_has_its_time_level_logger_and_what_it_is_about():
    with about(job="j1", run="r1"):
        told = json.loads(line("json", "%d of %s", 2, "three"))
    assert told.pop("at").endswith("Z")
    assert told == {"level": "warning", "logger": "rivet.here", "message": "2 of three", "job": "j1", "run": "r1"}


def test_a_line_of_text_reads_from_left_to_right():
    with about(run="r1"):
        assert line("text", "it %s", "waits").partition(" ")[2] == "warning rivet.here: it waits run='r1'"


def test_after_its_block_a_line_is_about_it_no_more():
    with about(job="j1"):
        pass
    assert "job" not in json.loads(line("json", "x"))
    now_about(request="a", run="r1")
    now_about(request="b")
    assert "r1" not in line("text", "x")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_in_the_log(form):
    try:
        raise ValueError("broke here")
    except ValueError:
        written = line(form, "x", fault=sys.exc_info())
    assert "ValueError: broke here" in written
    assert "Traceback" in written
    assert form == "text" or "\n" not in written


def test_a_message_of_several_lines_passes_for_one_record_only():
    written = line("text", "odd: %s", "a\n2026-01-01T00:00:00Z error rivet.api: forged")
    assert len([one for one in written.splitlines() if not one.startswith("    ")]) == 1


def test_what_a_stranger_names_is_short_and_on_one_line():
    now_about(run="a\nERROR forged: " + "x" * 1000)
    for form in ("text", "json"):
        written = line(form, "x")
        assert "\n" not in written
        assert len(written) < 400


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "secret",
    [
        "rvt_admin_" + "a" * 43, "redis://:hidden@host/0", "postgresql://me:hidden@host/x",
        "Authorization: Bearer hidden.x",
    ],
)
def test_tokens_and_passwords_of_addresses_are_in_no_line(form, secret):
    try:
        raise OSError(secret)
    except OSError:
        written = line(form, "lost %s", secret, fault=sys.exc_info())
    assert "hidden" not in written
    assert "aaaa" not in written
    assert "***" in written
