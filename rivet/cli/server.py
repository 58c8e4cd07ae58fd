"""Which server to speak to, and as whom: RIVET_URL, the current context, else what `rivet up` runs here."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rivet.cli.contexts import read_contexts
from rivet.cli.failures import UNREACHABLE, Failed
from rivet.client import Client


@dataclass(frozen=True, slots=True)
class Asked:
    """What environment and `rivet.toml` say that the command line needs to know."""

    url: str
    token: str
    home: Path


def asked() -> Asked:
    """Read the settings. Without a `rivet.toml` the environment says all, and much need not be loaded."""
    if "RIVET_CONFIG" in os.environ or Path("rivet.toml").exists():
        from rivet.wiring.settings import Settings

        settings = Settings()
        return Asked(settings.url, settings.token, settings.home.expanduser().absolute())
    home = os.environ.get("RIVET_HOME", "")
    if not home:
        import platformdirs

        home = platformdirs.user_data_dir("rivet")
    return Asked(
        os.environ.get("RIVET_URL", ""), os.environ.get("RIVET_TOKEN", ""), Path(home).expanduser().absolute()
    )


def find_server() -> Client | None:
    """A client of the server to use; None if none is configured and none runs on this machine."""
    settings = asked()
    if not settings.url and (context := read_contexts().current_one()) is not None:
        return Client(context.url, settings.token or context.token)
    local = local_state(settings.home)
    if not settings.url and local is None:
        return None
    url = settings.url or str(local["url"] if local else "")
    token = settings.token
    if not token and local is not None and local.get("url") == url:
        token = _text_of(Path(str(local.get("token_file", ""))))
    return Client(url, token)


def server() -> Client:
    """As `find_server`, but raises Failed where there is none."""
    found = find_server()
    if found is None:
        raise Failed(
            "no server: none runs from "
            f"{asked().home}, RIVET_URL is not set, and there is no context. `rivet up` starts one on this "
            "machine; `rivet login URL` names another.",
            UNREACHABLE,
        )
    return found


def local_state(home: Path) -> dict[str, Any] | None:
    """What `rivet up` wrote, if it still runs and is ready."""
    try:
        state = json.loads((home / "state.json").read_text())
        ticks = Path(f"/proc/{int(state['pid'])}/stat").read_bytes().rpartition(b")")[2].split()[19]
        return state if state["state"] == "ready" and int(ticks) == state["started"] else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Failed(f"the token in {path} cannot be read: {error.strerror}", UNREACHABLE) from error
