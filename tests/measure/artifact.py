"""`python -m tests.measure.artifact --size MB`: a large artifact up, down into a stage and down to a person.

The API is killed once on each way. What is told: how long each took, by how much each process grew meanwhile,
and whether all digests agree.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ..chaos.plant import Plant
from ..system.rivet_home import RivetHome

MB = 1_000_000
MIB = 1024 * 1024
ALLOWED_MIB = 100
LOOK_S = 0.05
PATIENCE_S = 1200.0
PART = 0.4
"""Of the artifact, so much is there when the API is killed."""

_LUA = """
pipeline = { name = "Large", stages = {
  { name = "make", script = function()
    process.run{command="sh", args={"-c", "head -c SIZE /dev/urandom > large && sha256sum large"}}
  end },
  { name = "up", script = function() log.info("sent " .. artifacts.upload{name="large", path="large"}.sha256) end },
  { name = "down", script = function()
    log.info("got " .. artifacts.download{name="large", path="in"}.sha256)
    process.run{command="sh", args={"-c", "cmp large in/large && sha256sum in/large"}}
  end },
} }
"""

_SMALL = 'pipeline = { name = "small", stages = { { name = "a", script = function() fs.write("a", "") end } } }'


@dataclass
class Growth:
    """By how many bytes processes of each kind have grown over what one of them has when it is idle.

    A room and the command line are counted whole: they are there for this alone.
    """

    plant: Plant
    idle: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def note_idle(self) -> None:
        """Whoever waits now, and was asked something before."""
        self._look(())
        self.idle, self.most = {kind: self.most[kind] for kind in ("API", "slot of the runner")}, {}

    @contextmanager
    def watched(self, *more: tuple[str, int]) -> Iterator[None]:
        """Look again and again; `more` are kinds and pids of processes that are not of the plant."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_S):
                self._look(more)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, more: tuple[tuple[str, int], ...]) -> None:
        kinds = (("API", self._api), ("slot of the runner", self.plant.slots), ("room or Lua child", self.plant.at_work))
        for kind, processes in kinds:
            try:
                for process in processes():
                    self._note(kind, process)
            except (psutil.Error, StopIteration):
                continue
        for kind, pid in more:
            try:
                self._note(kind, psutil.Process(pid))
            except psutil.Error:
                continue

    def _api(self) -> list[psutil.Process]:
        return self.plant.part("api").children()

    def _note(self, kind: str, process: psutil.Process) -> None:
        # What belongs to files that are mapped does not count: PostgreSQL's and Python's are shared by all.
        size = process.memory_full_info().uss
        self.most[kind] = max(self.most.get(kind, 0), size - self.idle.get(kind, 0))


def until(told: Callable[[], bool], what: str) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not told():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(LOOK_S)
    return time.monotonic() - began


def stored(home: RivetHome) -> int:
    """Bytes of pieces by now."""
    pieces = [path.stat().st_size for path in (home.folder / "home" / "artifacts").glob("*/*/*") if path.is_file()]
    return sum(pieces)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def kill_api(home: RivetHome) -> None:
    """All of it; `rivet up` starts it again."""
    for process in (Plant(home).part("api"), *Plant(home).part("api").children()):
        process.kill()


def measure(home: RivetHome, size: int) -> tuple[dict[str, float], Growth, set[str]]:
    """Seconds of each way, what grew, and the digests that were told or computed."""
    plant = Plant(home)
    growth, took, digests = Growth(plant), dict[str, float](), set[str]()
    home.finish(home.submit("small", _SMALL))
    growth.note_idle()
    run_id = home.submit("large", _LUA.replace("SIZE", str(size)))

    def has_begun(stage: str) -> bool:
        return any(one["key"] == stage and one["attempts"] for one in home.run(run_id)["stages"])

    def in_workspace() -> int:
        found = (home.folder / "home" / "runners").glob("*/jobs/*/workspace/in/*")
        return max((size_of(path) for path in found), default=0)

    until(lambda: has_begun("up"), "the upload begins")
    with growth.watched():
        until(lambda: stored(home) > PART * size, "a part of it is there")
        kill_api(home)
        home.when(run_id, lambda _: has_begun("down"), PATIENCE_S)
        until(lambda: in_workspace() > PART * size, "a part of it is back")
        kill_api(home)
        run = home.finish(run_id, PATIENCE_S)
    if run["status"] != "passed":
        raise AssertionError(f"the run ended {run['status']}: {home.lines(run_id)}")
    for stage, way in (("up", "up, from a stage"), ("down", "down, into a stage")):
        (row,) = home.query(
            "SELECT extract(epoch FROM attempt.ended_at - attempt.started_at) FROM attempt "
            "JOIN stage ON stage.id = attempt.stage_id WHERE stage.run_id = %s AND stage.key = %s", run_id, stage,
        )  # fmt: skip
        took[way] = float(row[0])
    for line in home.lines(run_id):
        digests |= {word for word in line.split() if len(word) == 64 and set(word) <= set("0123456789abcdef")}
    took["down, to a person"] = _to_a_person(home, run_id, size, growth, digests)
    return took, growth, digests


def _to_a_person(home: RivetHome, run_id: str, size: int, growth: Growth, digests: set[str]) -> float:
    """By the command line, which is started again once the API is back where the killed one ended it."""
    began, target = time.monotonic(), home.folder / "got"
    target.mkdir()
    killed = False
    while True:
        process = home.start_cli("artifact", "download", run_id, "large", "--dir", str(target))
        with growth.watched(("command line", process.pid)):
            while process.poll() is None:
                if not killed and max(map(size_of, target.iterdir()), default=0) > PART * size:
                    kill_api(home)
                    killed = True
                time.sleep(LOOK_S)
        if process.returncode == 0:
            break
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"it could not be downloaded: {process.communicate()[1]}")
        time.sleep(1.0)
    took_s = time.monotonic() - began
    (got,) = [path for path in target.iterdir() if path.stat().st_size == size]
    with got.open("rb") as file:
        digests.add(hashlib.file_digest(file, "sha256").hexdigest())
    return took_s


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.artifact", description=__doc__)
    parser.add_argument("--size", type=int, default=2000, help="in MB of 1 000 000 bytes")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rva"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    try:
        home.up()
        took, growth, digests = measure(home, asked.size * MB)
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"| {asked.size} MB, the API killed once on each way | seconds |\n| --- | --- |")
    for way, seconds in took.items():
        print(f"| {way} | {seconds:.1f} |")
    print("\n| process | grew by at most, MiB |\n| --- | --- |")
    for kind, size in sorted(growth.most.items()):
        print(f"| {kind} | {size / MIB:.0f} |")
    too_much = [kind for kind, size in growth.most.items() if size > ALLOWED_MIB * MIB]
    print(f"\n{len(digests)} digest, {len(too_much)} processes over {ALLOWED_MIB} MiB")
    return 1 if too_much or len(digests) != 1 else 0


if __name__ == "__main__":
    sys.exit(main())
