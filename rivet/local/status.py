"""`rivet status`: what runs, and how it is."""

import json

import click

from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.local.home import Home
from rivet.local.logs import last_lines
from rivet.local.processes import identity_of
from rivet.local.state import State, running_state
from rivet.local.told import UNREACHABLE, Failed
from rivet.wiring.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--logs", "part", metavar="PART", help="The last lines of a part's log instead.")
def status(as_json: bool, part: str | None) -> None:
    """Show what `rivet up` runs on this machine, and its health. Exit code 3 if it does not run.

    Example: rivet status --json
    """
    home = Home(Settings().home.expanduser().absolute())
    if part is not None:
        _show_log(home, part)
        return
    state = running_state(home)
    if state is None:
        if as_json:
            click.echo(
                json.dumps({"state": "down", "url": None, "home": str(home.path), "parts": []}, indent=2)
            )
            raise SystemExit(UNREACHABLE)
        raise Failed(f"Rivet does not run from {home.path}. Start it with `rivet up`.", UNREACHABLE)
    document = describe(state, home)
    click.echo(json.dumps(document, indent=2) if as_json else _as_text(document, state))


def describe(state: State, home: Home) -> dict[str, object]:
    """The state as programs read it. A part whose process is gone is `down` even if nobody noticed yet."""
    described = []
    for part in state.parts:
        pid, started = part.get("pid"), part.get("started")
        found = identity_of(int(pid)) if pid else None
        alive = found is not None and found.started == started
        gone = "down" if part["state"] == "running" else part["state"]
        described.append({**part, "pid": pid if alive else None, "state": part["state"] if alive else gone})
    return {
        "state": state.phase,
        "ready": _readiness(state),
        "url": state.url,
        "flower_url": state.flower_url,
        "token_file": state.token_file,
        "home": str(home.path),
        "pid": state.supervisor.pid,
        "parts": described,
        "notes": list(state.notes),
    }


def _readiness(state: State) -> object:
    """What the API says of itself."""
    try:
        code, answer = Client(state.url, timeout_s=5.0).request("GET", "/readyz")
    except (ApiUnreachable, ApiProblem) as error:
        return {"status": "unreachable", "detail": str(error)}
    return answer if isinstance(answer, dict) else {"status": "ok" if code == 200 else str(answer)}


def _as_text(document: dict[str, object], state: State) -> str:
    lines = [f"Rivet is {state.phase}, process {state.supervisor.pid}.", f"  API      {state.url}"]
    lines += [f"  Flower   {state.flower_url}", f"  Token    {state.token_file}", ""]
    parts = document["parts"]
    for part in parts if isinstance(parts, list) else []:
        again = f"   started again {part['restarts']} times in the last minute" if part["restarts"] else ""
        lines.append(f"  {part['name']:<12}{part['state']:<12}{part['pid'] or '-':<9}{again}".rstrip())
    ready = document["ready"]
    if isinstance(ready, dict) and ready.get("status") not in ("ok", "ready", None):
        lines += ["", "The API says: " + json.dumps(ready, ensure_ascii=False)]
    return "\n".join((*lines, "", *state.notes)).rstrip()


def _show_log(home: Home, part: str) -> None:
    path = home.logs / f"{part}.log"
    known = sorted(found.stem for found in home.logs.glob("*.log"))
    if part not in known:
        raise Failed(f"there is no log of {part!r}; there is {', '.join(known) or 'none yet'}.", 2)
    for line in last_lines(path, 200):
        click.echo(line)
