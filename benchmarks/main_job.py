"""Measure the main job, each figure beside its floor in the same call: `python -m benchmarks.main_job`.

- submit → first line, as a reader of the events sees it, and with `rivet run` (interpreter's start included)
- 200 one-stage runs submitted at once over HTTP, 2 slots, until the last has ended: runs a minute, beside raw
  Celery chains of three links that do nothing, on the same Redis with as many slots
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import redis

from tests.system.rivet_home import RIVET, RivetHome

COUNT = 200
ROUNDS = 5
HELLO = 'pipeline = { name = "Hello", stages = { { name = "s", script = function() log.info("hello") end } } }'
COMMAND = (
    'pipeline = { name = "Command", stages = { { name = "s", '
    'script = function() process.run{ command = "true" } end } } }'
)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rvb"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    try:
        home.up()
        told = measure(home)
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)
    json.dump(told, sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure(home: RivetHome) -> dict[str, object]:
    for _ in range(3):
        home.finish(home.submit("hello", HELLO))
    broker = psutil.Process(home.pid("runner")).environ()["RIVET_BROKER_URL"]
    floor = runs_a_minute_of_celery(broker, home)
    logs = runs_a_minute(home, "hello", HELLO)
    commands = runs_a_minute(home, "command", COMMAND)
    return {
        "first_line_ms": spread(lambda: first_line(home), 20),
        "rivet_run_first_line_ms": spread(lambda: first_line_of_cli(home), ROUNDS),
        "bash_echo_ms": spread(bash_echo, 20),
        "runs_a_minute": {
            "stage_that_logs": round(logs),
            "stage_with_one_command": round(commands),
            "raw_celery_chain_of_3": round(floor),
            "ratio_log": round(floor / logs, 1),
            "ratio_command": round(floor / commands, 1),
        },
    }


def spread(once: Callable[[], float], times: int) -> dict[str, float]:
    seconds = [once() for _ in range(times)]
    return {
        "median": round(statistics.median(seconds) * 1000, 1),
        "min": round(min(seconds) * 1000, 1),
        "max": round(max(seconds) * 1000, 1),
    }


def first_line(home: RivetHome) -> float:
    begun = time.perf_counter()
    run_id = home.submit("hello", HELLO)
    for event in home.events(run_id):
        if event.type == "log":
            return time.perf_counter() - begun
    raise RuntimeError("the run ended without a line")


def first_line_of_cli(home: RivetHome) -> float:
    file = home.file("hello", HELLO)
    begun = time.perf_counter()
    with subprocess.Popen(
        [*RIVET, "run", file], env=home.env(), cwd=home.folder, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:
        assert process.stdout is not None
        taken = next(time.perf_counter() - begun for line in process.stdout if "hello" in line and "|" in line)
        process.stdout.read()
    return taken


def bash_echo() -> float:
    begun = time.perf_counter()
    subprocess.run(["bash", "-c", "echo hello"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def runs_a_minute(home: RivetHome, slug: str, lua: str) -> float:
    begun = time.perf_counter()
    ids = home.submit_at_once(slug, lua, COUNT)
    while home.query("SELECT count(*) FROM run WHERE id = ANY(%s::uuid[]) AND ended_at IS NULL", ids) != [(0,)]:
        time.sleep(0.02)
    taken = time.perf_counter() - begun
    passed = home.query("SELECT count(*) FROM run WHERE id = ANY(%s::uuid[]) AND status = 'passed'", ids)
    assert passed == [(COUNT,)], passed
    return COUNT / taken * 60


def runs_a_minute_of_celery(broker: str, home: RivetHome) -> float:
    env = os.environ | {"RIVET_BROKER_URL": broker}
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "benchmarks.floor_tasks", "worker", "-c", str(home.slots), "-E",
         "-Q", "floor", "-n", "floor@%h", "--without-gossip", "--without-mingle", "--loglevel", "error"],
        env=env,
    )  # fmt: skip
    try:
        os.environ["RIVET_BROKER_URL"] = broker
        from benchmarks.floor_tasks import last, nothing

        client = redis.Redis.from_url(broker)
        _chains(1, nothing, last, client)
        begun = time.perf_counter()
        _chains(COUNT, nothing, last, client)
        return COUNT / (time.perf_counter() - begun) * 60
    finally:
        worker.terminate()
        worker.wait(20)


def _chains(count: int, nothing: object, last: object, client: "redis.Redis") -> None:
    key = f"floor:{uuid.uuid4().hex}"
    for _ in range(count):
        (nothing.s() | nothing.s() | last.s(key)).apply_async()  # type: ignore[attr-defined]
    while int(client.get(key) or 0) < count:
        time.sleep(0.01)
    client.delete(key)


if __name__ == "__main__":
    main()
