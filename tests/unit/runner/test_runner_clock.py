"""A clock calls what is due, in one thread that stays."""

import os
import threading
import time

from rivet.clock import Clock

SOON_S, WAIT_S = 0.02, 10


def test_what_is_asked_for_is_called_at_its_time_and_the_earlier_first():
    clock, called, done = Clock("test"), [], threading.Event()
    begun = time.monotonic()

    def note(name):
        called.append((name, time.monotonic() - begun))

    clock.call_at(begun + 2 * SOON_S, lambda: note("late") or done.set())
    clock.call_at(begun + SOON_S, lambda: note("early"))
    clock.call_at(begun - 1, lambda: note("at once"))
    assert done.wait(WAIT_S)
    assert [name for name, _ in called] == ["at once", "early", "late"]
    assert called[1][1] >= SOON_S
    assert called[2][1] >= 2 * SOON_S


def test_it_is_called_again_for_as_long_as_it_says_when():
    clock, times, done = Clock("test"), [], threading.Event()

    def work():
        times.append(time.monotonic())
        if len(times) < 3:
            return times[-1] + SOON_S
        done.set()
        return None

    clock.call_at(time.monotonic(), work)
    assert done.wait(WAIT_S)
    assert times[2] - times[0] >= 2 * SOON_S


def test_what_was_called_off_is_not_begun():
    clock, called, done = Clock("test"), [], threading.Event()
    call = clock.call_at(time.monotonic() + SOON_S, lambda: called.append("off"))
    call.call_off()
    clock.call_at(time.monotonic() + 2 * SOON_S, done.set)
    assert done.wait(WAIT_S)
    assert called == []


def test_all_is_called_by_one_thread_that_was_begun_when_it_was_needed():
    clock, threads, done = Clock("one of mine"), [], threading.Event()
    assert "one of mine" not in {thread.name for thread in threading.enumerate()}
    for _ in range(5):
        done.clear()
        clock.call_at(time.monotonic(), lambda: threads.append(threading.get_ident()) or done.set())
        assert done.wait(WAIT_S)
    assert len(set(threads)) == 1


def test_what_breaks_is_told_and_the_rest_is_called(caplog):
    clock, done = Clock("test"), threading.Event()
    clock.call_at(time.monotonic(), lambda: 1 / 0)
    clock.call_at(time.monotonic(), done.set)
    assert done.wait(WAIT_S)
    assert "division by zero" in caplog.text


def test_a_process_that_was_forked_has_a_thread_of_its_own():
    clock, done = Clock("test"), threading.Event()
    clock.call_at(time.monotonic(), done.set)
    assert done.wait(WAIT_S)
    child = os.fork()
    if child == 0:
        called = threading.Event()
        clock.call_at(time.monotonic(), called.set)
        os._exit(0 if called.wait(WAIT_S) else 1)
    assert os.waitpid(child, 0)[1] == 0
