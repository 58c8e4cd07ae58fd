"""A backup while runs go on, restored elsewhere: what had ended is there to the byte, the rest says why it ended."""

import hashlib
import json
import os
import shutil
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from .rivet_home import RivetHome, wait_for

A_MINUTE = 200
QUICK = """
pipeline = { name = "Quick", inputs = { n = { type = "number" } }, secrets = { "TOKEN" }, stages = {
  { name = "say", script = function() for i = 1, 20 do log.info("run " .. input.get("n") .. " line " .. i) end end },
} }
"""
KEEPS = """
pipeline = { name = "Keeps", secrets = { "TOKEN" }, stages = { { name = "keep", artifacts = { "out.bin" },
  script = function()
    process.run({ command = "sh", args = { "-c", "head -c 6000000 /dev/urandom > out.bin; sha256sum out.bin" } })
  end } } }
"""
READS = """
pipeline = { name = "Keeps", secrets = { "TOKEN" }, stages = { { name = "read", script = function()
  process.run({ command = "sh", args = { "-c", "printf %s \\"$TOKEN\\" | sha256sum" }, env = { TOKEN = secrets.get("TOKEN") } })
end } } }
"""
SLOW = 'pipeline = { name = "Slow", stages = { { name = "a", script = function() time.sleep(100) end } } }'
ASKS = """
pipeline = { name = "Asks", stages = { { name = "sure", approval = { message = "?" } },
  { name = "after", script = function() end } } }
"""


@pytest.fixture(scope="module")
def source(make_home) -> RivetHome:
    home = make_home()
    (home.folder / "value").write_text("the value of then")
    done = home.cli("secret", "set", "TOKEN", "--all-pipelines", "--file", str(home.folder / "value"))
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def backed_up(source) -> tuple[Path, dict, list[str], list[str]]:
    """The file, what it said, runs that had ended before, and runs that went on."""
    kept = source.submit("keeps", KEEPS)
    source.finish(kept)
    before = [kept, *(source.submit("quick", QUICK, n=n) for n in range(10))]
    for run in before:
        source.finish(run)
    going = [source.submit("slow", SLOW), source.submit("asks", ASKS)]
    source.when(going[0], lambda run: run["status"] == "running")
    source.when(going[1], lambda run: run["status"] == "waiting")
    over = threading.Event()
    started: list[str] = []

    def load() -> None:
        at = time.monotonic()
        while not over.wait(max(0.0, at - time.monotonic())):
            started.append(source.submit("quick", QUICK, n=1000 + len(started)))
            at += 60 / A_MINUTE

    loading = threading.Thread(target=load)
    loading.start()
    wait_for(lambda: len(started) > 15, 60)
    file = source.folder / "b.tar.zst"
    done = source.cli("backup", str(file), "--with-key", "--json")
    wait_for(lambda: len(started) > 30, 60)
    over.set()
    loading.join()
    assert done.returncode == 0, done.stderr
    return file, json.loads(done.stdout), before, going


@pytest.fixture(scope="module")
def elsewhere(make_home, backed_up) -> RivetHome:
    """Another home, in which the backup was restored, up."""
    made = make_home()
    made.down()
    home = RivetHome(made.folder / "e")
    home.folder.mkdir()
    done = home.cli("restore", str(backed_up[0]))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "reason `restored`" in done.stdout
    home.up()
    yield home
    home.down()


def test_the_file_is_ours_alone_and_nothing_is_written_over(source, backed_up):
    file, told, _, _ = backed_up
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert told["lost"] == []
    assert told["size"] == file.stat().st_size
    again = source.cli("backup", str(file))
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert [one.name for one in source.folder.iterdir() if one.name.startswith(".b.tar")] == []


def test_whatever_had_ended_is_there(source, elsewhere, backed_up):
    _, told, before, _ = backed_up
    there = {run["id"]: run for run in elsewhere.client.call("GET", "/runs?limit=500")["items"]}
    assert len(there) == told["runs"]
    ended = [run for run in there.values() if run["reason"] != "restored"]
    assert {*before} <= {run["id"] for run in ended}
    assert len(ended) > len(before)
    for run in ended:
        was = source.run(run["id"])
        now = elsewhere.run(run["id"])
        strip = {"url"}
        assert {k: v for k, v in now.items() if k not in strip} == {k: v for k, v in was.items() if k not in strip}
        assert _log(elsewhere, run["id"]) == _log(source, run["id"])
        assert _log(elsewhere, run["id"])
    slugs = [one["slug"] for one in elsewhere.client.call("GET", "/projects/default/pipelines")["items"]]
    assert slugs == ["asks", "keeps", "quick", "slow"]


def test_artifacts_come_back_to_the_byte(source, elsewhere, backed_up):
    run = backed_up[2][0]
    for home in (source, elsewhere):
        done = home.cli("artifact", "download", run, "keep", "--dir", str(home.folder / "out"))
        assert done.returncode == 0, done.stderr
    was, now = (hashlib.sha256((home.folder / "out" / "out.bin").read_bytes()).hexdigest() for home in (source, elsewhere))
    assert was == now


def test_secrets_are_read_again_with_the_key(elsewhere):
    run = elsewhere.submit("keeps", READS)
    assert elsewhere.finish(run)["status"] == "passed"
    assert elsewhere.lines(run)[-1].startswith(hashlib.sha256(b"the value of then").hexdigest())


def test_whatever_was_going_on_has_ended_with_a_clear_reason(elsewhere, backed_up):
    _, _, _, going = backed_up
    for run in going:
        found = elsewhere.run(run)
        assert (found["status"], found["reason"]) == ("errored", "restored")
        assert {stage["reason"] for stage in found["stages"]} == {"restored"}
        events = list(elsewhere.events(run))
        assert events[-1].type == "end"
    listed = elsewhere.client.call("GET", "/runs?limit=500")["items"]
    assert all(run["ended_at"] for run in listed)


def test_the_restored_system_goes_on(elsewhere):
    before = elsewhere.client.call("GET", "/runs?pipeline=quick&limit=1")["items"][0]["number"]
    run = elsewhere.submit("quick", QUICK, n=5)
    found = elsewhere.finish(run)
    assert (found["status"], found["number"]) == ("passed", before + 1)


@pytest.fixture
def empty(tmp_path_factory) -> RivetHome:
    folder = tmp_path_factory.mktemp("r")
    return RivetHome(folder)


def untouched(home: RivetHome) -> bool:
    return not (home.folder / "home").exists()


@pytest.mark.parametrize("made", ["postgresql", "artifacts/*/*/*", "keys/secret_key"])
def test_a_restore_that_is_killed_is_given_again(backed_up, empty, made):
    file, told, _, _ = backed_up
    home = empty.folder / "home"
    with empty.start_cli("restore", str(file)) as restoring:
        wait_for(lambda: any(home.glob(made)), 60)
        restoring.send_signal(signal.SIGSTOP)
        during = empty.cli("restore", str(file))
        restoring.send_signal(signal.SIGKILL)
        restoring.communicate(timeout=30)
    assert restoring.returncode == -signal.SIGKILL, "it came to its end before it was killed"
    assert during.returncode != 0
    assert "goes on; wait until it has ended" in during.stderr
    for command in (["up", "--detach", "--port", "0"], ["backup", str(empty.folder / "half")]):
        refused = empty.cli(*command)
        assert refused.returncode != 0
        assert "was cut off" in refused.stderr
        assert "give `rivet restore FILE` again" in refused.stderr
    done = empty.cli("restore", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert "this one starts over" in done.stderr
    assert json.loads(done.stdout)["runs"] == told["runs"]
    assert not (home / "restoring").exists()
    again = empty.cli("backup", str(empty.folder / "again"), "--json")
    assert again.returncode == 0, again.stderr
    assert {name: json.loads(again.stdout)[name] for name in ("runs", "pieces", "lost")} == {
        "runs": told["runs"], "pieces": told["pieces"], "lost": [],
    }


@pytest.mark.parametrize("damage", ["cut", "bit"])
def test_a_damaged_file_is_refused_before_anything_is_touched(backed_up, empty, damage):
    whole = bytearray(backed_up[0].read_bytes())
    if damage == "cut":
        del whole[len(whole) * 2 // 3 :]
    else:
        whole[len(whole) // 2] ^= 4
    (empty.folder / "d").write_bytes(whole)
    done = empty.cli("restore", str(empty.folder / "d"))
    assert done.returncode == 2
    assert "damaged" in done.stderr or "its end is missing" in done.stderr
    assert untouched(empty)


def test_a_full_home_and_another_key_are_refused(source, backed_up, empty):
    done = source.cli("restore", str(backed_up[0]))
    assert done.returncode == 2
    assert "empty home" in done.stderr
    empty.environment["RIVET_SECRET_KEY"] = "x" * 40
    done = empty.cli("restore", str(backed_up[0]))
    assert done.returncode == 2
    assert "RIVET_SECRET_KEY" in done.stderr
    assert untouched(empty)


def test_a_stopped_home_is_backed_up_too_and_without_its_key_that_is_said(elsewhere, empty):
    elsewhere.down()
    file = empty.folder / "b"
    try:
        done = elsewhere.cli("backup", str(file))
        assert done.returncode == 0, done.stderr
    finally:
        elsewhere.up()
    done = empty.cli("restore", str(file))
    assert done.returncode == 0, done.stderr
    assert "RIVET_SECRET_KEY" in done.stderr
    assert not (empty.folder / "home" / "keys" / "secret_key").exists()


def test_an_empty_database_of_ones_own_is_restored_into_and_a_full_one_refused(backed_up, empty, postgres):
    postgres.execute("CREATE DATABASE of_ones_own")
    empty.environment["RIVET_DATABASE_URL"] = postgres.dsn("of_ones_own")
    done = empty.cli("restore", str(backed_up[0]), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["runs"], told["missing_keys"]) == (backed_up[1]["runs"], [])
    assert not (empty.folder / "home" / "postgresql").exists()
    shutil.rmtree(empty.folder / "home" / "artifacts")
    done = empty.cli("restore", str(backed_up[0]))
    assert done.returncode == 2
    assert "has tables of Rivet already" in done.stderr
    done = empty.cli("backup", str(empty.folder / "again"), "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["lost"]) == told["pieces"]
    postgres.execute("DROP DATABASE of_ones_own WITH (FORCE)")


def _log(home: RivetHome, run: str) -> bytes:
    return b"".join(home.client.blocks(f"/runs/{run}/logs?raw=1"))
