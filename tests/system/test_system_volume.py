"""Logs of every size and shape come through whole, once and in order, and nobody's memory grows with them."""

import hashlib
import itertools
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from .rivet_home import RivetHome

MIB = 1024 * 1024
MOST_MORE = 96 * MIB
"""What a process may take more while a flood goes through it: chunks on their way, and what Python keeps of them."""

ONE = 'pipeline = { name = "%s", stages = { { name = "s", script = function() process.run{ %s } end } } }'
PYTHON = 'command = "python3", args = { "-c", [==[%s]==] }'


def logged(system: RivetHome, slug: str, program: str, within_s: float = 90) -> str:
    """The id of a run of one stage that has run this program to its end."""
    run = system.finish(system.submit(slug, ONE % (slug, PYTHON % program)), within_s)
    assert run["status"] == "passed", run
    return run["id"]


def raw(system: RivetHome, run_id: str) -> Iterator[bytes]:
    return system.client.blocks(f"/runs/{run_id}/logs?raw=1")


def test_a_million_lines_arrive_whole_and_nobody_grows(system):
    logged(system, "drip", "print('ready')")
    program = "import sys\nfor n in range(0, 1000000, 1000): sys.stdout.write(''.join('%099d\\n' % m for m in range(n, n + 1000)))"
    with growth(system) as grown:
        run_id = logged(system, "million", program)
    heard, expected, size = hashlib.sha256(), hashlib.sha256(), 0
    for block in raw(system, run_id):
        heard.update(block)
        size += len(block)
    for number in range(0, 1_000_000, 1000):
        expected.update(b"".join(b"%099d\n" % each for each in range(number, number + 1000)))
    assert (size, heard.digest()) == (100_000_000, expected.digest())
    assert system.run(run_id)["lines"] == 1_000_000
    assert {name: more // MIB for name, more in grown.items() if more > MOST_MORE} == {}
    *_, last = system.client.lines(f"/runs/{run_id}/logs?tail=1")
    assert last.strip() == b"%099d" % 999_999


def test_a_line_of_a_hundred_megabytes_is_cut_and_loses_nothing(system):
    program = "import sys\nfor n in range(1000): sys.stdout.write('x' * 100000)"
    with growth(system) as grown:
        run_id = logged(system, "endless", program)
    lines = [line.rstrip(b"\n") for line in raw_lines(system, run_id)]
    assert sum(map(len, lines)) == 100_000_000
    assert set(map(len, lines[:-1])) == {64 * 1024}
    assert all(line == b"x" * len(line) for line in lines[-3:])
    assert {name: more // MIB for name, more in grown.items() if more > MOST_MORE} == {}


def test_a_hundred_thousand_writes_of_a_line_each_keep_their_order(system):
    run_id = logged(system, "drops", "import os\nfor n in range(100000): os.write(1, b'%d\\n' % n)")
    told = itertools.count()
    assert all(line == b"%d\n" % next(told) for line in raw_lines(system, run_id))
    assert next(told) == 100_000


def test_fifty_runs_that_log_at_once_each_have_their_own(system):
    program = "import os\nfor n in range(4000): print(os.environ['RIVET_RUN_NUMBER'], n)"
    ids = system.submit_at_once("choir", ONE % ("choir", PYTHON % program), 50)
    for run_id in ids:
        run = system.finish(run_id, 120)
        expected = [f"{run['number']} {n}" for n in range(4000)]
        assert [line.decode().rstrip("\n") for line in raw_lines(system, run_id)] == expected


def test_bytes_of_every_kind_come_back_as_they_were(system):
    program = (
        "import random, sys\nchance = random.Random(7)\n"
        "for n in range(50): sys.stdout.buffer.write(chance.randbytes(100000))\nsys.stdout.buffer.write(b'\\n')"
    )
    run_id = logged(system, "binary", program)
    chance = random.Random(7)
    expected = b"".join(chance.randbytes(100_000) for _ in range(50)) + b"\n"
    assert hashlib.sha256(b"".join(raw(system, run_id))).digest() == hashlib.sha256(expected).digest()
    for line in itertools.islice(system.client.lines(f"/runs/{run_id}/logs?format=ndjson"), 2000):
        json.loads(line)


def raw_lines(system: RivetHome, run_id: str) -> Iterator[bytes]:
    return system.client.lines(f"/runs/{run_id}/logs?raw=1")


@contextmanager
def growth(system: RivetHome) -> Iterator[dict[str, int]]:
    """By how many bytes of their own the processes have grown at most meanwhile: those of Rivet, and Redis."""
    names = ("api", "control", "runner", "redis")
    processes = {
        f"{name} {one.pid}": one
        for name in names
        for one in (psutil.Process(system.pid(name)), *psutil.Process(system.pid(name)).children())
    }
    before = {name: one.memory_full_info().uss for name, one in processes.items()}
    most: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for name, one in processes.items():
                more = one.memory_full_info().uss - before[name]
                most[name] = max(most.get(name, 0), more)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()
