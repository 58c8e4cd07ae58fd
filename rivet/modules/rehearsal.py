"""What a script's calls are answered in a plan: nothing is done, each call is checked and noted.

What can be known is answered as it would be (`input`, `env`, `json`, `hash.sha256`, what was set before by
`output`). What only doing it could tell gets a neutral answer, and the call is marked as assumed: a process
ends with exit code 0 and says nothing, a request is answered 200 with nothing in it, a file is empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from rivet.domain.annotation import Annotation
from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.secret import Opaque, Reference
from rivet.domain.wording import shown
from rivet.modules import registry
from rivet.modules.contract import Call, CallError, Process
from rivet.modules.processes import Launch
from rivet.modules.web import Answer, Ask

MOST_NOTED = 200
MOST_SHOWN = 200
NO_COMMIT = "0" * 40
NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Noted:
    """One call of a script. `assumed`: what it was answered is not what it would be."""

    call: str
    assumed: bool


@dataclass
class Rehearsal:
    """What a script sees of its stage in a plan; a StageContext whose acts are none."""

    env: Mapping[str, str]
    inputs: Mapping[str, Any]
    outputs: dict[str, Any]
    facts: Mapping[str, Any]
    output_lists: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    noted: list[Noted] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    left_out: int = 0
    _assumed: bool = False
    _handles: dict[int, Launch] = field(default_factory=dict)
    _asked_for: list[int] = field(default_factory=list)

    def call(self, module: str, function: str, args: list[Any]) -> Any:
        """Check the call, note it, and answer. Raises CallError as it would be raised in a run."""
        declared = registry.FUNCTIONS.get(module, {}).get(function)
        if declared is None:
            raise CallError(f"{module}.{function}: it is a plug-in's or is not there: a plan cannot call it")
        bound = declared.bind(args)
        self._assumed = False
        answer = bound.act(self)
        if not function.endswith(":end"):
            self._note(declared, args)
        return answer

    def _note(self, declared: type[Call], args: list[Any]) -> None:
        if len(self.noted) >= MOST_NOTED:
            self.left_out += 1
            return
        given = args[1:] if declared.of_handle is not None else args
        told = f"{declared.title()}({', '.join(_literal(arg) for arg in given)})"
        short = told if len(told) <= MOST_SHOWN else told[: MOST_SHOWN - 1] + "…"
        self.noted.append(Noted(short, self._assumed))

    # What a stage offers to modules (`contract.StageContext`), with nothing behind it.

    @property
    def background(self) -> "Rehearsal":
        return self

    @property
    def artifacts(self) -> Any:
        return self._assuming(upload=_nothing_kept, download=_nothing_kept)

    @property
    def caches(self) -> Any:
        return self._assuming(restore=lambda *_: None, save=lambda *_: True)

    @property
    def reports(self) -> Any:
        return SimpleNamespace(tests=lambda _: None, coverage=lambda _: None)

    @property
    def web(self) -> Any:
        return self._assuming(ask=_nothing_at)

    def files(self, title: str) -> Any:
        return self._assuming(
            read=lambda *_: b"", write=lambda *_, **__: None, stat=lambda *_: None, list=lambda *_: [],
            glob=lambda *_: [], mkdir=lambda *_: None, remove=lambda *_: False, copy=lambda *_: None,
            move=lambda *_: None, digest=lambda *_: NO_DIGEST,
        )  # fmt: skip

    def _assuming(self, **answers: Any) -> Any:
        self._assumed = True
        return SimpleNamespace(**answers)

    def say(self, level: str, text: str) -> None: ...
    def begin_group(self, name: str) -> int:
        return 1

    def end_group(self, number: int) -> None: ...
    def pause(self, seconds: float) -> None: ...
    def annotate(self, annotation: Annotation) -> None: ...
    def set_summary(self, markdown: str) -> None: ...

    def set_output(self, name: str, value: Any) -> None:
        self.outputs[name] = value

    def secret(self, name: str) -> Opaque:
        if name not in self.secrets:
            self.secrets.append(name)
        return Opaque((Reference(name),))

    def run_process(self, argv: Sequence[str], **_: Any) -> Process:
        self._assumed = True
        return _quiet_end()

    def fetch_git(self, *_: Any, **__: Any) -> str:
        self._assumed = True
        return NO_COMMIT

    def run_git(self, title: str, path: str, arguments: Sequence[str]) -> bytes:
        self._assumed = True
        return NO_COMMIT.encode() if arguments[0] == "rev-parse" else b""

    def start(self, launch: Launch) -> int:
        self._assumed = True
        number = len(self._handles) + 1
        self._handles[number] = launch
        return number

    def launched(self, handle: int) -> Launch:
        if handle not in self._handles:
            raise CallError("h: no such process was started")
        return self._handles[handle]

    def wait(self, handle: int, timeout_s: float | None) -> Process:
        self._assumed = True
        return _quiet_end()

    def stop(self, handle: int) -> Process:
        self._assumed = True
        return _quiet_end()

    def is_running(self, handle: int) -> bool:
        # First it runs, then no more: a script may wait for either in a loop.
        self._assumed = True
        self._asked_for.append(handle)
        return self._asked_for.count(handle) == 1


def _quiet_end() -> Process:
    return Process(exit_code=0, stdout=b"", stderr=b"", seconds=0.0, tail=())


def _nothing_at(ask: Ask) -> Answer:
    return Answer(status=200, url=ask.url, headers={}, body=b"")


def _nothing_kept(*_: object) -> Contents:
    return Contents("file", "", "", 0, Manifest(0, NO_DIGEST, ()))


def _literal(value: Any) -> str:
    """A value about as Lua writes it; of an opaque one, the names of the secrets in it."""
    match value:
        case Opaque():
            names = [part.name for part in value.parts if isinstance(part, Reference)]
            return f"<secret {', '.join(names)}>"
        case dict():
            return "{" + ", ".join(f"{key} = {_literal(item)}" for key, item in value.items()) + "}"
        case list():
            return "{" + ", ".join(_literal(item) for item in value) + "}"
        case bytes():
            return shown(value.decode("utf-8", "backslashreplace"))
    return shown(value)
