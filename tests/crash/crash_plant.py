"""A system whose processes die where they are told to, and whose runner has a small disk for its jobs."""

import contextlib
import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rivet.client import ApiUnreachable

from ..chaos.effects import Effects
from ..chaos.faults import EVERY_RUNNER, Hit
from ..chaos.plant import Plant
from ..chaos.shapes import Shape
from ..chaos.verdict import Findings, Judge
from ..system.rivet_home import RivetHome, wait_for
from .cases import Case

HERE = Path(__file__).parent / "at"
WITHIN_S = 40.0
DISK = "64m"


@dataclass
class CrashPlant:
    """`tokens` is where the points look; the effects of runs are counted."""

    home: RivetHome
    effects: Effects
    tokens: Path

    def arm(self, case: Case) -> None:
        """Lay out the tokens of this case, and no others."""
        for token in self.tokens.iterdir():
            token.unlink(missing_ok=True)
        draft = self.tokens / "draft"
        for point, whom in case.points().items():
            draft.write_text(whom)
            draft.rename(self.tokens / point)

    def has_struck(self, case: Case) -> bool:
        return all((self.tokens / f"{point}.taken").exists() for point in case.points())

    def is_idle(self) -> bool:
        """Whether nothing is left of any stage; False too while the runner is being started again."""
        try:
            return not Plant(self.home).at_work()
        except psutil.Error:
            return False

    def submit(self, shape: Shape) -> str | None:
        """The run's id; None where the API died of it."""
        try:
            return self.home.submit(shape.slug, shape.lua(self.effects.port))
        except ApiUnreachable:
            return None

    def stored(self, shape: Shape) -> list[str]:
        """The ids of the runs of this pipeline, once the API answers again."""
        found: list[list[Any]] = []

        def answers() -> bool:
            try:
                found.append(self.home.client.call("GET", f"/runs?pipeline={shape.slug}")["items"])
            except ApiUnreachable:
                return False
            return True

        wait_for(answers, WITHIN_S)
        return [run["id"] for run in found[-1]]

    def judge(self, shape: Shape, run: dict[str, Any], case: Case) -> None:
        """Effects, lines and events, as after any chaos."""
        findings = Findings()
        hit = Hit(case.point, 0.0, case.whom, runner=EVERY_RUNNER)
        Judge(self.home, shape, run, self.effects.of(run["id"]), [hit], findings).judge()
        assert not findings, "\n".join(findings.told())
        wait_for(self.is_idle, WITHIN_S, lambda: "a room or a Lua child is left")

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """The disk of the runner's jobs takes no byte more; where it has none of its own, no file may grow."""
        jobs = jobs_of(self.home.folder)
        if os.path.ismount(jobs):
            filler = jobs / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 4096)
            yield
            filler.unlink()
        else:
            slots = self.home.slots_of(self.home.pid("runner"))
            before = [slot.rlimit(psutil.RLIMIT_FSIZE) for slot in slots]
            for slot in slots:
                slot.rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            yield
            for slot, limits in zip(slots, before, strict=True):
                slot.rlimit(psutil.RLIMIT_FSIZE, limits)


def start_plant(folder: Path, effects: Effects) -> CrashPlant:
    """In an empty folder. The lease is longer than a runner takes to be back."""
    folder.chmod(0o755)
    tokens = folder / "tokens"
    tokens.mkdir()
    jobs = jobs_of(folder)
    jobs.mkdir(parents=True)
    if os.geteuid() == 0:
        # Not everybody's root may mount: then the limit of a file's size stands in for a full disk.
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0711", "tmpfs", str(jobs)],
            capture_output=True, check=False,
        )
    home = RivetHome(
        folder,
        environment={
            "RIVET_LEASE_SECONDS": "5",
            "RIVET_ALLOW_HOSTS": f"127.0.0.1:{effects.port}",
            "PYTHON_CRASH_FOLDER": str(tokens),
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        },
        slots=6,
    )
    home.up()
    return CrashPlant(home, effects, tokens)


def jobs_of(folder: Path) -> Path:
    """Where the runner of a home in this folder keeps its jobs."""
    return folder / "home" / "runners" / f"{socket.gethostname().split('.')[0]}-runner" / "jobs"


def end_plant(folder: Path) -> None:
    """In a hurry, which a second signal makes of the first: nothing is at work any more."""
    with contextlib.suppress(psutil.NoSuchProcess, KeyError):  # it may not have come up
        up = psutil.Process(Plant.state_in(folder)["pid"])
        for _ in range(2):
            up.terminate()
            time.sleep(0.2)
        up.wait(30)
    jobs = jobs_of(folder)
    if os.path.ismount(jobs):
        subprocess.run(["umount", "-l", str(jobs)], check=True)
