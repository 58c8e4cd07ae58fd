"""Play cases against a target: several at once, and again alone what did not plainly hold."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rivet.client import ApiProblem

from ..system.rivet_home import RivetHome
from .cases import Case
from .judge import OVERTIME_S, Verdict, judge_host, judge_told, orphans_of, worker_findings
from .listeners import Bait
from .pipeline import STAGE_S, Limits, pipeline_text
from .target import QUEUE, Target
from .told import told_by

AWAY_S = 30.0
"""What a run may wait for a slot besides."""

CALM = 'return { name = "calm", stages = { { name = "a", script = function() log.info("well") end } } }'

Say = Callable[[Verdict], None]


@dataclass
class Player:
    """`at_once` cases side by side. Verdicts come in the order of the cases."""

    target: Target
    at_once: int
    rebind_host: str | None
    seconds: float = STAGE_S
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0
    _bystander: str = ""

    def __post_init__(self) -> None:
        self._bystander = self.target.state_of_bystander()

    def play(self, cases: Sequence[Case], say: Say = lambda _: None) -> list[Verdict]:
        """Each case once beside others; what is not held is played again alone, and judged by that as well."""
        with ThreadPoolExecutor(max(1, self.at_once)) as pool:
            verdicts = []
            for verdict in pool.map(self._beside_others, cases):
                verdicts.append(verdict)
                if not _is_doubtful(verdict):
                    say(verdict)
        for at, verdict in enumerate(verdicts):
            if _is_doubtful(verdict):
                verdicts[at] = self._again(verdict)
                say(verdicts[at])
        return verdicts

    def _beside_others(self, case: Case) -> Verdict:
        try:
            return self.one(case, alone=False)
        except Exception as broken:
            # Another case may have broken what this one needed: it is played again, and then it may raise.
            return Verdict(case, "-", invalid=f"the harness failed: {broken}")

    def _again(self, first: Verdict) -> Verdict:
        """Alone. What was found beside others and not now may have been another's doing, or for want of time."""
        second = self.one(first.case, alone=True)
        lasting = [found for found in first.findings if found.startswith(("it says", "leaked", "raw", "reached"))]
        second.findings += [f"beside others: {found}" for found in lasting if found not in second.findings]
        if second.word == "held":
            second.note = f"only beside others: {first.why}"
        return second

    def one(self, case: Case, *, alone: bool = True) -> Verdict:
        """Play one case and judge it. With `alone` nothing else is under way, and all is its doing."""
        if case.names_containers:
            return Verdict(case, "-", inapplicable="it calls docker, and Rivet has no containers yet")
        target, canaries, limits = self.target, self.target.canaries, Limits.of(case, self.seconds)
        if alone and self._bystander != target.state_of_bystander():
            target.start_bystander()
            self._bystander = target.state_of_bystander()
        workers, workspace = target.workers(), target.state_of_bystander()
        with Bait(canaries["CANARY_HTTP"].encode()) as bait:
            lua = case.filled(self._values(bait))
            try:
                run = self._start(case, lua, limits)
            except ApiProblem as problem:
                return _refused(case, problem)
            try:
                ended = target.home.finish(run, limits.seconds * 3 + OVERTIME_S + AWAY_S)
            except AssertionError:
                target.home.client.call("POST", f"/runs/{run}/cancel")
                return Verdict(case, "stuck", findings=["its run did not end"])
            told = told_by(target.home, ended)
            verdict = judge_told(case, told, canaries, limits.seconds)
            verdict.findings += [f"reached {name}" for name in dict.fromkeys(bait.reached)]
        if "REBIND_HOST" in case.placeholders and self.rebind_host is None:
            verdict.note = "no name server could listen on port 53: its name resolved to nothing"
        if alone or orphans_of(case):
            verdict.findings += judge_host(() if alone else orphans_of(case))
        verdict.findings += worker_findings(workers, target.workers(), self._is_prompt if alone else lambda: True)
        if target.state_of_bystander() != workspace:
            verdict.findings.append("another run's workspace was changed")
        if not target.bystander_is_well():
            verdict.findings.append(f"another run was ended: {target.end_of_bystander()}")
        return verdict

    def after_all(self) -> list[str]:
        """What is left when all have been played."""
        findings = judge_host()
        if not self.target.bystander_is_well():
            findings.append("another run was ended")
        return findings

    def _values(self, bait: Bait) -> dict[str, str]:
        target = self.target
        return {
            **{name: str(port) for name, port in bait.ports.items()},
            "WORKSPACE": "/workspace",
            "OTHER_WS": str(target.workspace),
            "PARENT_PID": str(target.runner_pid),
            "ALLOWED_HTTP": target.allowed,
            "ALLOWED_GIT": target.allowed_git,
            "REBIND_HOST": self._rebinding() if self.rebind_host else "nowhere.rebind.test",
            "ABSTRACT": bait.abstract,
            "HOST_FILE": str(target.host_file),
        }

    def _rebinding(self) -> str:
        """A name that was not asked for yet: its first answer is the public one."""
        return f"{os.urandom(6).hex()}.{self.rebind_host}"

    def _start(self, case: Case, lua: str, limits: Limits) -> str:
        with self._guard:
            self._number += 1
            slug = f"attack-{self._number}"
        hosts = _hosts_of(lua, self.target.allowed)
        text = pipeline_text(case, lua, slug, hosts, limits, queue=QUEUE)
        return self.target.home.submit(slug, text)

    def _is_prompt(self) -> bool:
        home: RivetHome = self.target.home
        text = CALM.replace('name = "calm"', f'name = "calm", queue = "{QUEUE}"')
        try:
            return bool(home.finish(home.submit("calm", text), OVERTIME_S)["status"] == "passed")
        except AssertionError:
            return False


def _refused(case: Case, problem: ApiProblem) -> Verdict:
    """A pipeline that cannot be started: right only where the case's own fields of the stage are to blame."""
    if case.stage_fields and "denied" in case.expect and problem.status < 500:
        return Verdict(case, "denied", note=f"the pipeline was refused: {problem.detail[:200]}")
    return Verdict(case, "refused", invalid=f"the pipeline was refused: {problem.detail[:300]}")


def _is_doubtful(verdict: Verdict) -> bool:
    return verdict.word in ("breached", "invalid")


def _hosts_of(lua: str, allowed: str) -> list[str]:
    """Hosts that the pipeline grants itself: all that a case could mean, so that the operator's half is tried."""
    names = ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "2130706433", "169.254.169.254"]
    names += ["example.invalid", "127.0.0.1.nip.io", "[::1]", "[::]", "[::ffff:127.0.0.1]", "0x7f000001"]
    names += ["017700000001", "metadata.google.internal", "*.rebind.test", "10.0.0.1", "192.168.0.1"]
    return [allowed.removeprefix("http://"), *names]
