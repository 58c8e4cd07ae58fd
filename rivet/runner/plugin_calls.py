"""Calls of plug-ins' modules: code that is not ours may raise anything, and may not come back.

What it raises is the script's to see, as an error of that call. What has not come back a while after its
stage was to stop ends this slot's process, as if it had been killed: no call can be ended from outside.
"""

import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any

from rivet.modules.contract import CallError
from rivet.modules.registry import Modules
from rivet.runner.room import RoomLost
from rivet.runner.stage_context import GRACE_S, StageCalls, Stopped

_log = logging.getLogger(__name__)


def _end_slot(title: str) -> None:
    _log.critical("%s, a plug-in's, does not come back %g s after its stage was to stop: ending this slot",
                  title, GRACE_S)  # fmt: skip
    os.kill(os.getpid(), signal.SIGKILL)


class PluginCalls:
    """Those of one attempt. `mask` is for what is logged."""

    def __init__(
        self,
        modules: Modules,
        mask: Callable[[str], str],
        *,
        grace_s: float = GRACE_S,
        end_slot: Callable[[str], None] = _end_slot,
    ) -> None:
        self._modules, self._mask, self._grace_s, self._end_slot = modules, mask, grace_s, end_slot
        self._guard = threading.Lock()
        self._title: str | None = None
        self._timer: threading.Timer | None = None

    def call(self, module: str, function: str, args: list[Any], stage: StageCalls) -> Any:
        """Raises CallError, and Stopped where the stage is to stop."""
        with self._guard:
            self._title = f"{module}.{function}"
        try:
            stage.go_on()
            answer = self._modules.call(module, function, args, stage)
            stage.go_on()
        except (CallError, Stopped, RoomLost):
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's code: whatever it raises
            trace = self._mask(traceback.format_exc())
            _log.error("%s.%s, a plug-in's, failed\n%s", module, function, trace)
            told = f"{module}.{function}: the plug-in failed: {type(error).__name__}: {error}"
            raise CallError(told) from None
        finally:
            with self._guard:
                self._title = None
                if self._timer is not None:
                    self._timer.cancel()
        return answer

    def stop(self) -> None:
        """The stage is to stop: a call that is under way has a while left. Called by any thread."""
        with self._guard:
            if self._title is None or self._timer is not None:
                return
            self._timer = threading.Timer(self._grace_s, self._end_slot, (self._title,))
            self._timer.daemon = True
            self._timer.start()
