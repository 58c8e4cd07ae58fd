"""Contexts: servers that a person has signed in to, in one file that only they can read."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rivet.cli.failures import USAGE, Failed

_FILE = "contexts.json"


@dataclass(frozen=True, slots=True)
class Context:
    """One server, and the token that says as whom."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contexts:
    """All of them by name, and which one is in use; none is, where `current` is empty."""

    current: str = ""
    by_name: Mapping[str, Context] = field(default_factory=dict)

    def current_one(self) -> Context | None:
        return self.by_name.get(self.current)

    def with_one(self, name: str, context: Context) -> "Contexts":
        """With this one added, or changed, and in use."""
        return Contexts(name, {**self.by_name, name: context})

    def using(self, name: str) -> "Contexts":
        """Raises Failed for a name that is none."""
        self._require(name)
        return replace(self, current=name)

    def without(self, name: str) -> "Contexts":
        """Raises Failed for a name that is none. If it was in use, none is afterwards."""
        self._require(name)
        others = {other: context for other, context in self.by_name.items() if other != name}
        return Contexts("" if self.current == name else self.current, others)

    def _require(self, name: str) -> None:
        if name not in self.by_name:
            known = ", ".join(sorted(self.by_name)) or "none; `rivet login URL` makes one"
            raise Failed(f'there is no context "{name}"; there are: {known}', USAGE)


def contexts_file() -> Path:
    """Where they are kept: in the folder for configuration of this platform."""
    import platformdirs

    return Path(platformdirs.user_config_dir("rivet")) / _FILE


def read_contexts() -> Contexts:
    """What the file says; none if it is not there. Raises Failed if it cannot be read, or others may."""
    file = contexts_file()
    try:
        with file.open(encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            document = json.load(opened)
        found = Contexts(
            str(document["current"]),
            {
                str(name): Context(str(one["url"]), str(one["token"]))
                for name, one in document["contexts"].items()
            },
        )
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}", USAGE) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed(
            f"{file} holds no contexts; remove it, and sign in again by `rivet login URL`", USAGE
        ) from error
    if mode & 0o077:
        raise Failed(f"{file} holds tokens and others may read it; mend it by: chmod 600 {file}", USAGE)
    return found


def write_contexts(contexts: Contexts) -> None:
    """Write all of them at once, readable by their owner alone. Raises Failed."""
    file = contexts_file()
    document = {
        "current": contexts.current,
        "contexts": {name: {"url": one.url, "token": one.token} for name, one in contexts.by_name.items()},
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A new file beside it, which is made with mode 0600, takes its place: nobody sees half of it.
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=_FILE)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                json.dump(document, opened, indent=2)
            Path(draft).replace(file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failed(f"{file}: {error.strerror}", USAGE) from error
