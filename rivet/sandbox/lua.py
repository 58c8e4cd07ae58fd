"""Scripts, as the supervisor sees them: open a file in a confined child, run its stages, serve its calls.

    with Zygote(uid) as zygote:
        script = open_script(zygote, source, "rivet.lua", limits, modules=…, values=…, resolve=True)
        failure = script.run(("stages", 1), calls)

Nothing here knows Lua: it is all frames, and the child is believed no more than a stranger.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from rivet.sandbox.children import Child, Ended, LuaLimits, NoChild, OutOfTime, Zygote
from rivet.sandbox.frames import BadFrame, Encoded, encode

__all__ = [
    "FILE", "Calls", "Given", "Kind", "LuaError", "LuaLimits", "NoChild", "Refused", "Script", "Zygote",
    "open_script",
]  # fmt: skip

Kind = Literal["syntax", "error", "memory", "cpu", "wall", "crash", "protocol", "too_large"]
CallKind = Literal["call", "oneway", "handle", "around", "local"]
"""`handle`: what is answered is a number, for which the script gets an object with the methods that are
listed as `function:method`. `around`: a function of the script's is called between it and `function:end`.
`local`: the child does it by itself."""
Calls = Callable[[str, str, list[Any]], Any]
Bindings = Mapping[str, Mapping[str, CallKind]]
MOST_BINDINGS = 16
FILE = "rivet.lua"
"""What messages call the text of a pipeline that has no other name any more."""
TOO_LARGE = "which is the most that can leave a script"
"""How an error ends that says that a value does not fit into a frame."""
_KINDS_OF_CHILD = ("syntax", "error", "memory", "cpu", "protocol")


class Refused(Exception):
    """A module's call was refused or failed: the message becomes a Lua error in the script, at its line."""


@dataclass(frozen=True, slots=True)
class LuaError:
    """How a script ended that did not end well.

    `message` is without place and addresses; `line` is None where a single call ran into a limit.
    """

    kind: Kind
    message: str
    file: str | None = None
    line: int | None = None
    traceback: tuple[str, ...] = ()

    def told(self) -> str:
        """`file:line: message`."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, slots=True)
class Given:
    """What a function of the file gave when it was asked."""

    value: Any


class Script:
    """An evaluated file in its child; `table` is what it defines.

    `run` is called by one thread at a time; `kill` by any.
    """

    def __init__(self, child: Child, filename: str, modules: Bindings) -> None:
        self.table: Any = None
        self._child = child
        self._filename = filename
        self._modules = modules
        self._late_refusal: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, path: Sequence[str | int], calls: Calls) -> LuaError | None:
        """Run the `script` of the stage at `path`; None where it came to its end.

        `calls` is asked for each call of a module, in order; what it returns goes back to the script, and
        Refused becomes a Lua error there. Whatever else it raises ends the child and is raised here.
        """
        ended = self._execute({"path": list(path)}, calls)
        return ended if isinstance(ended, LuaError) else None

    def ask(self, path: Sequence[str | int], calls: Calls) -> "LuaError | Given":
        """What the function at `path` gives, such as a stage's `when`; `calls` as in `run`."""
        ended = self._execute({"path": list(path), "gives": True}, calls)
        return ended if ended is not None else Given(None)

    def _execute(self, asked: Mapping[str, Any], calls: Calls) -> "LuaError | Given | None":
        self._late_refusal = None
        try:
            self._child.send(asked)
            while True:
                match self._child.receive():
                    case ["said", *entries]:
                        self._hear(entries, calls)
                    case ["call", str(module), str(function), list(arguments)]:
                        self._reply(module, function, arguments, calls)
                    case ["failed", {"kind": _, "message": _} as failure]:
                        return _failure(failure, self._filename)
                    case ["gave", value] if asked.get("gives"):
                        return self._late() or Given(value)
                    case ["done"] if not asked.get("gives"):
                        return self._late()
                    case _:
                        raise BadFrame("a frame is none that a running script sends")
        except (Ended, OutOfTime, BadFrame) as problem:
            self.kill()
            return _broken(problem, self._child.limits, self._filename)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End the child at once; a `run` under way returns a LuaError."""
        self._child.kill()

    def close(self) -> None:
        self._child.close()

    def evaluate(self, opening: Mapping[str, Any]) -> LuaError | None:
        """Hand the file to the child and take what it defines."""
        try:
            self._child.send(opening)
            match self._child.receive():
                case ["table", table]:
                    self.table = table
                    return None
                case ["failed", {"kind": _, "message": _} as failure]:
                    return _failure(failure, self._filename)
            raise BadFrame("a frame is none that an opening script sends")
        except (Ended, OutOfTime, BadFrame) as problem:
            return _broken(problem, self._child.limits, self._filename)

    def _hear(self, entries: list[Any], calls: Calls) -> None:
        for entry in entries:
            match entry:
                case [str(module), str(function), list(arguments)]:
                    self._check(module, function, "oneway")
                    try:
                        calls(module, function, arguments)
                    except Refused as refused:
                        self._late_refusal = self._late_refusal or str(refused)
                case _:
                    raise BadFrame("an entry is none that a script says")

    def _reply(self, module: str, function: str, arguments: list[Any], calls: Calls) -> None:
        self._check(module, function, "call", "handle", "around")
        answer = self._answer(module, function, arguments, calls)
        try:
            self._child.send(answer)
        except BadFrame as unfit:
            told = f"{module}.{function}: what it gives does not fit into a script: {unfit}"
            self._child.send({"refused": told})

    def _answer(self, module: str, function: str, arguments: list[Any], calls: Calls) -> dict[str, Any]:
        if self._late_refusal is not None:
            refusal, self._late_refusal = self._late_refusal, None
            return {"refused": refusal}
        try:
            return {"value": calls(module, function, arguments)}
        except Refused as refused:
            return {"refused": str(refused)}

    def _check(self, module: str, function: str, *kinds: CallKind) -> None:
        if self._modules.get(module, {}).get(function) not in kinds:
            raise BadFrame("a script calls what it was not given")

    def _late(self) -> LuaError | None:
        refusal = self._late_refusal
        return LuaError("error", refusal, self._filename) if refusal is not None else None


def open_script(
    zygote: Zygote,
    source: str,
    filename: str,
    limits: LuaLimits,
    *,
    modules: Bindings,
    values: Mapping[str, Mapping[str, Any]],
    resolve: bool,
    running_values: Mapping[str, Mapping[str, Any]] | None = None,
) -> Script | LuaError:
    """Evaluate a file in a new child.

    `modules` says which functions exist, and of which kind: whether the script waits for them (`call`) or not
    (`oneway`), and so on;
    `values` are constants such as `run.id`. With `resolve`, `stages` given as a function is called, with
    `input` and `run` to read, and replaced by its result. `running_values` are constants that only a stage's
    script sees. Raises NoChild.
    """
    raw = source.encode("utf-8", "surrogateescape")
    if len(raw) > limits.source_bytes:
        return LuaError(
            "too_large",
            f"the file has {len(raw)} bytes, and {limits.source_bytes} are allowed; "
            "move data that stages need into files of the repository",
            filename,
        )
    script = Script(zygote.fork(limits), filename, modules)
    failure = script.evaluate({
        "source": raw,
        "filename": filename,
        "memory": limits.memory_bytes,
        "frame": limits.frame_bytes,
        "cpu_s": limits.cpu_s,
        "modules": _encoded(modules),
        "values": values,
        "running_values": running_values or {},
        "resolve": resolve,
    })
    if failure is not None:
        script.close()
        return failure
    return script


_known: dict[int, tuple[Bindings, Encoded]] = {}


def _encoded(modules: Bindings) -> Encoded:
    """The same few go into each frame that opens a script: encoded once."""
    known, encoded = _known.get(id(modules), (None, None))
    if known is not modules or encoded is None:
        if len(_known) >= MOST_BINDINGS:
            _known.clear()
        encoded = encode(modules)
        _known[id(modules)] = modules, encoded
    return encoded


def _failure(told: Mapping[str, Any], filename: str) -> LuaError:
    """What the child says of a failure, taken with care. Raises BadFrame."""
    kind, message, line = told["kind"], told["message"], told.get("line")
    trace = told.get("traceback") or []
    if isinstance(message, bytes):
        message = message.decode(errors="backslashreplace")
    if kind not in _KINDS_OF_CHILD or not isinstance(message, str) or not isinstance(trace, list):
        raise BadFrame("a failure is none that a script tells")
    if not isinstance(line, int) or isinstance(line, bool) or not 0 < line < 2**31:
        line = None
    levels = tuple(level for level in trace if isinstance(level, str))
    return LuaError(kind, message, filename, line, levels)


def _broken(problem: Exception, limits: LuaLimits, filename: str) -> LuaError:
    match problem:
        case OutOfTime():
            return LuaError("wall", f"the limit of {limits.wall_s:g} s is over", filename)
        case Ended(kind="memory" | "cpu" | "crash" as kind):
            return LuaError(kind, str(problem), filename)
    return LuaError("protocol", f"the Lua process broke the protocol and was ended: {problem}", filename)
