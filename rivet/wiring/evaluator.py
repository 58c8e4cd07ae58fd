"""Definitions evaluated, and scripts rehearsed, in Lua children: a few at a time, whatever is asked for."""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rivet.domain.errors import Unavailable
from rivet.domain.field_rules import UNLIMITED, TimeLimits
from rivet.domain.pipeline import Checked
from rivet.engine.plan_ports import Rehearsed, ToRehearse
from rivet.engine.ports import Asked, CannotEvaluate
from rivet.modules import registry
from rivet.modules.run import as_defined
from rivet.runner.readable import Readable
from rivet.sandbox.definition import check
from rivet.sandbox.lua import FILE, LuaError, LuaLimits, NoChild, Zygote, open_script
from rivet.wiring.rehearse import rehearse

AT_ONCE = 8
WAIT_S = 20.0
KNOWN, KNOWN_CHARS = 64, 64 * 1024
"""How many good files are remembered, and how long one may be."""
LIMITS = LuaLimits(cpu_s=3.0, wall_s=15.0)
"""A definition is evaluated while somebody waits for an answer; a script has the sandbox's own limits."""


class LuaEvaluator:
    """The engine's Evaluator over one zygote, with the operator's maxima and the modules of plug-ins."""

    def __init__(
        self, zygote: Zygote, times: TimeLimits = UNLIMITED, plugins: Collection[str] = ()
    ) -> None:
        self._zygote, self._times, self._plugins = zygote, times, plugins
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._known: dict[tuple[str, str], Checked] = {}
        self._guard = threading.Lock()

    def check(
        self,
        source: str,
        filename: str = "rivet.lua",
        *,
        inputs: Mapping[str, Any] | None = None,
        run: Mapping[str, Any] | None = None,
    ) -> Checked:
        """Raises Unavailable if no child can be had within 20 s.

        A good file that was checked lately is not evaluated again: whoever starts one pipeline a hundred
        times waits for it once. What depends on a run's inputs always is.
        """
        key = (source, filename)
        known = self._known.get(key) if inputs is None and run is None else None
        if known is not None:
            return known
        with self._a_child():
            checked = check(
                self._zygote, source, filename, inputs=inputs, run=run, limits=LIMITS,
                times=self._times, plugins=self._plugins,
            )  # fmt: skip
        if inputs is None and run is None and checked.definition is not None and len(source) <= KNOWN_CHARS:
            self._remember(key, checked)
        return checked

    def _remember(self, key: tuple[str, str], checked: Checked) -> None:
        with self._guard:
            while len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = checked

    def ask(self, asked: Asked) -> Any:
        """Raises CannotEvaluate, and Unavailable if no child can be had within 20 s."""
        with self._a_child():
            return self._asked(asked)

    def rehearse(self, asked: ToRehearse) -> Rehearsed:
        """Raises Unavailable if no child can be had within 20 s."""
        with self._a_child():
            return rehearse(self._zygote, asked)

    @contextmanager
    def _a_child(self) -> Iterator[None]:
        """One of those that may be had at once."""
        if not self._free.acquire(timeout=WAIT_S):
            raise Unavailable(f"{AT_ONCE} pipelines are being evaluated, each for long; try again soon")
        try:
            yield
        except NoChild as error:
            raise Unavailable(f"no Lua process can be had: {error}") from error
        finally:
            self._free.release()

    def _asked(self, asked: Asked) -> Any:
        readable = Readable(asked.env, asked.inputs, asked.outputs, asked.run, asked.output_lists)
        script = open_script(
            self._zygote, asked.source, FILE, LIMITS, modules=registry.bindings(),
            values={"run": as_defined(asked.run), "input": asked.inputs, "matrix": {}}, resolve=True,
        )  # fmt: skip
        if isinstance(script, LuaError):
            raise CannotEvaluate(script.told())
        with script:
            given = script.ask(asked.path, readable.call)
        if isinstance(given, LuaError):
            raise CannotEvaluate(given.told())
        return given.value
