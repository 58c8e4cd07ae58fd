"""The system under attack: a whole Rivet, a runner that holds canaries, and another run's live workspace."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from rivet.client import ApiProblem

from ..system.rivet_home import RIVET, RivetHome, wait_for
from ..system.second_runner import stop
from .canaries import Canaries
from .hostile_repository import hostile_repository
from .judge import state_of

ORDINARY = 299_501
QUEUE, RUNNER = "attacks", "second"
UIDS = "211000-211999"
ROOT = Path(__file__).resolve().parents[2]

BYSTANDER = """
return {{
  name = "bystander",
  queue = "{queue}",
  timeout = "6h",
  stages = {{ {{ name = "work", timeout = "6h", script = function()
    fs.write("canary.txt", "{canary}\\n")
    log.info("at work")
    process.run {{ command = "sleep", args = {{ "21000" }}, env = {{ OF_OTHERS = "{canary}" }} }}
  end }} }},
}}
"""


@dataclass
class TargetHome(RivetHome):
    """`prefix` stands before every command of Rivet's: it may change the user and what files are seen."""

    prefix: tuple[str, ...] = ()
    as_root: bool = True

    def env(self) -> dict[str, str]:
        env = super().env()
        if not self.as_root:
            tools = str(Path(sys.executable).parent)
            env |= {"HOME": str(self.folder), "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin"}
        return {**env, "PYTHONDONTWRITEBYTECODE": "1"}

    def cli(self, *arguments: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *RIVET, *arguments], env=self.env(), cwd=self.folder, capture_output=True, text=True,
            timeout=timeout_s, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip


@dataclass(slots=True)
class Target:
    """A running one. `workspace` is the bystander's, `host_file` is the operator's and no stage's."""

    home: TargetHome
    runner: subprocess.Popen[bytes]
    canaries: Canaries
    host_file: Path
    allowed: str
    allowed_git: str
    bystander: str = ""
    workspace: Path = Path()

    @property
    def runner_pid(self) -> int:
        return self.runner.pid

    def workers(self) -> set[tuple[int, float]]:
        """Runner and slots, by pid and start: another set means that one of them has died."""
        found = set()
        with contextlib.suppress(psutil.NoSuchProcess):
            runner = psutil.Process(self.runner.pid)
            for each in (runner, *self.home.slots_of(runner.pid)):
                if each.status() != psutil.STATUS_ZOMBIE:
                    found.add((each.pid, each.create_time()))
        return found

    def start_bystander(self) -> None:
        """Begin the other run, and wait until its workspace is there. The one before it is cancelled."""
        if self.bystander:
            with contextlib.suppress(ApiProblem):
                self.home.client.call("POST", f"/runs/{self.bystander}/cancel")
        self.canaries.renew("CANARY_OTHER_RUN")
        text = BYSTANDER.format(canary=self.canaries["CANARY_OTHER_RUN"], queue=QUEUE)
        run = self.home.submit("bystander", text)
        wait_for(lambda: "at work" in self.home.lines(run), 40, lambda: json.dumps(self.home.run(run)))
        job = self.home.run(run)["stages"][0]["job"]
        self.workspace = next((self.home.folder / "second").rglob(f"{job}/workspace"))
        self.bystander = run

    def state_of_bystander(self) -> str:
        """A digest of the other run's workspace."""
        return state_of(self.workspace)

    def bystander_is_well(self) -> bool:
        return bool(self.home.run(self.bystander)["status"] == "running")

    def end_of_bystander(self) -> str:
        """What became of the other run, in words."""
        run = self.home.run(self.bystander)
        return f"{run['status']}, {run['reason']}: {self.home.lines(self.bystander)[-1][:300]}"


@contextlib.contextmanager
def target(
    *, ordinary: bool, slots: int, allowed_port: int, name_server: str | None, isolation: str = "namespaces"
) -> Iterator[Target]:
    """Bring one up, and take it down whatever happened. With `ordinary`, root hands it to another user."""
    canaries = Canaries()
    folder = Path(tempfile.mkdtemp(prefix="rva"))
    folder.chmod(0o755)
    uid = ORDINARY if ordinary and os.geteuid() == 0 else None
    repository = hostile_repository(folder / "repositories" / "hostile")
    home = TargetHome(
        folder,
        environment={
            "RIVET_ALLOW_HOSTS": f"127.0.0.1:{allowed_port}",
            "RIVET_ALLOW_PATHS": str(repository.parent),
        },
        slots=1,
        prefix=_prefix(folder, uid, name_server),
        as_root=os.geteuid() == 0 and uid is None,
    )
    host_file = folder / "operators-notes.txt"
    host_file.write_text(canaries["CANARY_HOST"] + "\n")
    host_file.chmod(0o600)
    _plant_passwords(folder / "home", canaries)
    _give(folder, uid)
    try:
        home.up()
        with _runner(home, canaries, slots + 1, isolation) as runner:
            _note_tokens(home, canaries)
            _keep_secrets(home, canaries)
            system = Target(home, runner, canaries, host_file, f"http://127.0.0.1:{allowed_port}", f"file://{repository}")
            system.start_bystander()
            yield system
            # A runner that is asked to end waits for what it holds.
            home.client.call("POST", f"/runs/{system.bystander}/cancel")
            home.finish(system.bystander, 20)
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(folder: Path, uid: int | None, name_server: str | None) -> tuple[str, ...]:
    """What stands before Rivet's commands; nothing where we are no root."""
    if os.geteuid() != 0:
        return ()
    over = {}
    if name_server is not None and os.path.exists("/etc/resolv.conf"):
        (folder / "resolv.conf").write_text(f"nameserver {name_server}\noptions timeout:1 attempts:1\n")
        over["/etc/resolv.conf"] = str(folder / "resolv.conf")
    if uid is not None:
        known = Path("/etc/passwd").read_text()
        (folder / "passwd").write_text(f"{known}rivet-attacks:x:{uid}:{uid}::{folder}:/bin/sh\n")
        over["/etc/passwd"] = str(folder / "passwd")
    asked = {"uid": uid, "over": over, "show": sorted({sys.prefix, sys.base_prefix, str(ROOT)})}
    # The system's Python: ours may be where the user may not be any more once it is entered.
    return (sys.executable, str(Path(__file__).with_name("private_view.py")), json.dumps(asked))


def _plant_passwords(home: Path, canaries: Canaries) -> None:
    """The servers' own passwords are the canaries: whoever sees their addresses sees them."""
    keys = home / "keys"
    keys.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    for name, canary in (("postgresql_password", "CANARY_DB"), ("redis_password", "CANARY_BROKER")):
        (keys / name).write_text(canaries[canary] + "\n")
        (keys / name).chmod(0o600)


def _give(folder: Path, uid: int | None) -> None:
    if uid is None:
        return
    for at, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.lchown(os.path.join(at, name), uid, uid)


@contextlib.contextmanager
def _runner(
    home: TargetHome, canaries: Canaries, slots: int, isolation: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The runner that is attacked; its environment holds what a careless operator would leave in it."""
    token = home.cli("runner", "token", "--queue", QUEUE, "--name", RUNNER).stdout.strip()
    canaries.add("the runner's token", token)
    known = home.told("runner")
    env = {
        **{name: value for name, value in known.items() if not name.startswith("RIVET_RUNNER")},
        "RIVET_DATABASE_URL": home.database_url(),
        "RIVET_HOME": str(home.folder / "second"),
        "RIVET_TOKEN": token,
        "RIVET_STAGE_UIDS": UIDS,
        "RIVET_ISOLATION": isolation,
    }
    assert canaries["CANARY_DB"] in env["RIVET_DATABASE_URL"]
    assert canaries["CANARY_BROKER"] in env["RIVET_BROKER_URL"]
    log = home.folder / "second.log"
    with log.open("ab") as writing:
        process = subprocess.Popen(
            [*home.prefix, *RIVET, "runner", "start", "--name", RUNNER, "--queue", QUEUE, "--slots", str(slots)],
            env=env, cwd=home.folder, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(lambda: _is_online(home), 40, log.read_text)
        yield process
    finally:
        stop(process)


def _is_online(home: RivetHome) -> bool:
    told = home.client.call("GET", "/runners")["items"]
    return any(one["name"] == RUNNER and one["status"] == "online" for one in told)


def _note_tokens(home: TargetHome, canaries: Canaries) -> None:
    for name in ("keys/secret_key", "keys/flower_password", "tokens/admin", "tokens/runner"):
        canaries.add(name, (home.folder / "home" / name).read_text().strip())


def _keep_secrets(home: TargetHome, canaries: Canaries) -> None:
    """One secret that every pipeline may use, one of another project, and one of another pipeline."""
    home.query("INSERT INTO project (slug) VALUES ('p2') RETURNING slug")
    ours = {"value": canaries["secret CANARY_TOKEN"], "all_pipelines": True}
    theirs = {"value": canaries["secret OTHER_PROJECT_TOKEN"], "all_pipelines": True}
    home.client.call("PUT", "/projects/default/secrets/CANARY_TOKEN", ours)
    home.client.call("PUT", "/projects/p2/secrets/OTHER_PROJECT_TOKEN", theirs)
