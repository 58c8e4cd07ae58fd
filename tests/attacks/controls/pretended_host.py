"""A host that is only pretended: it plays one case with one weak worker, judges, and prints what it found.

    python -m tests.attacks.controls.pretended_host CONTROL SECONDS < CASE.json > VERDICT.json

It runs in namespaces of its own: the baits on loopback, /tmp and all processes that it sees are its own.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from ..canaries import Canaries
from ..cases import Case
from ..hostile_repository import hostile_repository
from ..judge import judge_host, judge_told, state_of
from ..listeners import Bait, allowed_server
from ..outcome import Line, Told

HOST = Path("/tmp/host")
OVERTIME_S = 2.0
"""Less than a runner has: what has no limit shows that as well in two seconds."""
_LATE_S = 0.3
MOST_MIB = 256
"""More than that no process of a case needs. What has no bound takes it soon, on a fast machine as on a slow one."""


def main() -> int:
    control, seconds = sys.argv[1], float(sys.argv[2])
    given = json.load(sys.stdin)
    case = Case(given["name"], frozenset(given["expect"]), given["lua"])
    canaries = Canaries()
    workspace, other = HOST / "jobs/mine/workspace", HOST / "jobs/other/workspace"
    for folder in (workspace, other):
        folder.mkdir(parents=True)
    (other / "canary.txt").write_text(canaries["CANARY_OTHER_RUN"] + "\n")
    (HOST / "operators-notes.txt").write_text(canaries["CANARY_HOST"] + "\n")
    if "ALLOWED_GIT" in case.placeholders:
        hostile_repository(HOST / "repository")
    before = state_of(other)
    with Bait(canaries["CANARY_HTTP"].encode()) as bait, allowed_server() as port:
        values = {
            **{name: str(each) for name, each in bait.ports.items()},
            "WORKSPACE": str(workspace), "OTHER_WS": str(other), "PARENT_PID": "@@PARENT_PID@@",
            "ALLOWED_HTTP": f"http://127.0.0.1:{port}", "ALLOWED_GIT": f"file://{HOST}/repository",
            "REBIND_HOST": "localhost", "ABSTRACT": bait.abstract, "HOST_FILE": str(HOST / "operators-notes.txt"),
        }  # fmt: skip
        told = _play(control, case.filled(values), workspace, canaries, seconds)
        verdict = judge_told(case, told, canaries, seconds, OVERTIME_S)
        verdict.findings += _without_bound()
        time.sleep(0.1)
        verdict.findings += [f"reached {name}" for name in dict.fromkeys(bait.reached)]
    verdict.findings += judge_host()
    if state_of(other) != before:
        verdict.findings.append("another run's workspace was changed")
    if told.is_invalid or told.outcome == "error":
        # An end by an error is what a weak worker has for everything that it does not know.
        verdict.findings = [found for found in verdict.findings if not found.startswith("ended error")]
    print(json.dumps({"outcome": verdict.outcome, "findings": verdict.findings, "message": told.message}))
    return 0


def _without_bound() -> list[str]:
    """Whether the greediest process of the case took more memory than there is need for."""
    most_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    return [f"took {most_mib} MiB of memory"] if most_mib > MOST_MIB else []


def _play(control: str, lua: str, workspace: Path, canaries: Canaries, seconds: float) -> Told:
    report = HOST / "report"
    env = {
        **os.environ,
        "RIVET_DATABASE_URL": f"postgresql://rivet:{canaries['CANARY_DB']}@127.0.0.1/rivet",
        "RIVET_BROKER_URL": f"redis://:{canaries['CANARY_BROKER']}@127.0.0.1/0",
        "WEAK_SECRETS": json.dumps(
            {name: canaries[f"secret {name}"] for name in ("CANARY_TOKEN", "OTHER_PROJECT_TOKEN")}
        ),
    }
    begun = time.monotonic()
    script = HOST / "case.lua"
    worker = subprocess.Popen(
        ["sh", "-c", 'sed -i "s/@@PARENT_PID@@/$$/g" "$0"; exec "$@"', str(script), sys.executable, "-m",
         "tests.attacks.controls.weak_worker", control, str(script), str(workspace), str(report)],
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: script.write_bytes(lua.encode("utf-8", "surrogateescape")),
    )  # fmt: skip
    try:
        worker.wait(seconds + OVERTIME_S + _LATE_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    took_ms = (time.monotonic() - begun) * 1000
    said = [each for line in _lines(report) if (each := _read(line))]
    end = said.pop() if said and "end" in said[-1] else {"end": "crash", "message": f"the worker ended {worker.returncode}"}
    raw = "\n".join(each["text"] for each in said).encode("utf-8", "surrogateescape")
    lines = [Line(each["stream"], each["text"]) for each in said]
    return Told(end["end"], end["message"], took_ms, lines, [end["message"].encode("utf-8", "replace")], raw)


def _lines(report: Path) -> list[str]:
    return report.read_text(errors="replace").split("\n") if report.exists() else []


def _read(line: str) -> dict[str, str]:
    """One object of the report. What a case wrote into it by an inherited descriptor is none."""
    try:
        each = json.loads(line)
    except ValueError:
        return {}
    return each if isinstance(each, dict) and {"text", "end"} & set(each) else {}


if __name__ == "__main__":
    sys.exit(main())
