"""What a plug-in's call may do to its stage: fail, but neither break the slot nor hold it."""

import logging
import threading

import pytest

from rivet.modules.contract import Call, CallError
from rivet.modules.registry import Modules
from rivet.runner.plugin_calls import PluginCalls
from rivet.runner.stage_context import Stopped


class Fails(Call, module="sample"):
    """For these tests."""

    def act(self, stage):
        raise ValueError("token s3cret is no good")


class Waits(Call, module="sample"):
    """For these tests."""

    def act(self, stage):
        stage.begun.set()
        assert stage.released.wait(5)
        return "late"


class Stage:
    def __init__(self):
        self.begun, self.released, self.stopped = threading.Event(), threading.Event(), False

    def go_on(self):
        if self.stopped:
            raise Stopped("cancelled")


def calls(ended, grace_s=0.05):
    functions = {"sample": {"fails": Fails, "waits": Waits}}
    return PluginCalls(Modules(functions), lambda text: text.replace("s3cret", "***"), grace_s=grace_s, end_slot=ended)


def test_whatever_a_plugin_raises_is_the_scripts_error_and_is_logged_masked(caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(CallError) as caught:
        calls(None).call("sample", "fails", [{}], Stage())
    assert str(caught.value) == "sample.fails: the plug-in failed: ValueError: token s3cret is no good"
    assert "sample.fails, a plug-in's, failed" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_call_that_does_not_come_back_after_a_stop_ends_the_slot():
    ended, stage = [], Stage()
    plugins = calls(lambda title: (ended.append(title), stage.released.set()))
    stopper = threading.Thread(target=lambda: (stage.begun.wait(5), setattr(stage, "stopped", True), plugins.stop()))
    stopper.start()
    with pytest.raises(Stopped):
        plugins.call("sample", "waits", [{}], stage)
    stopper.join()
    assert ended == ["sample.waits"]


def test_a_call_that_comes_back_in_time_is_let_be():
    ended, stage = [], Stage()
    plugins = calls(ended.append, grace_s=0.2)
    stopper = threading.Thread(
        target=lambda: (stage.begun.wait(5), setattr(stage, "stopped", True), plugins.stop(), stage.released.set())
    )
    stopper.start()
    with pytest.raises(Stopped):
        plugins.call("sample", "waits", [{}], stage)
    stopper.join()
    threading.Event().wait(0.4)
    assert ended == []
    plugins.stop()
    with pytest.raises(Stopped):
        plugins.call("sample", "waits", [{}], stage)
