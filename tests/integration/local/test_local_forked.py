"""The fork server: what it forks is what was asked for, ends with it, and knows nothing of the others."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from rivet.local.fork_server import LOADED, ForkRequest
from rivet.local.forked import Forked, ForkServer

from ...system.rivet_home import wait_for

PART = """
    import json, os, sys, time
    from pathlib import Path
    told = {
        "argv": sys.argv[1:], "env": dict(os.environ), "folder": os.getcwd(), "session": os.getsid(0),
        "name": __name__, "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2),
        "threads": len(os.listdir("/proc/self/task")),
    }
    sys.stderr.write("to the log")
    Path(sys.argv[1]).write_text(json.dumps(told))
    if sys.argv[2] == "fail":
        sys.exit("it fails")
    time.sleep(float(sys.argv[2]))
    sys.exit(3)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    (folder / "a_part.py").write_text(textwrap.dedent(PART))
    return folder


@pytest.fixture(scope="module")
def server(library, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    made = ForkServer(home, home / "fork-server.log", {"PATH": os.environ["PATH"], "PYTHONPATH": str(library)})
    yield made
    made.stop()


def forked(server: ForkServer, tmp_path: Path, how: str, **env: str) -> Forked:
    arguments = (str(tmp_path / "told"), how)
    return server.fork(ForkRequest(
        title="rivet a-part", module="a_part", arguments=arguments, env=env, folder=str(tmp_path),
        log=str(tmp_path / "log"), death_signal=int(signal.SIGTERM),
    ))  # fmt: skip


def told(tmp_path: Path) -> dict[str, object]:
    def is_told() -> bool:
        try:
            return bool(json.loads((tmp_path / "told").read_text()))
        except (OSError, ValueError):
            return False

    wait_for(is_told, 30)
    return dict(json.loads((tmp_path / "told").read_text()))


def test_a_part_is_what_was_asked_for_and_its_end_is_told(server, tmp_path):
    part = forked(server, tmp_path, "0.2", ONLY="this")
    said = told(tmp_path)
    assert said["argv"] == [str(tmp_path / "told"), "0.2"]
    assert said["env"].items() >= {"ONLY": "this"}.items()
    assert set(said["env"]) <= {"ONLY", "SPT_NOENV"}
    assert (said["folder"], said["session"], said["name"]) == (str(tmp_path), part.pid, "__main__")
    assert (len(said["open"]), said["threads"]) == (1, 1)  # the folder that it lists
    assert psutil.Process(part.pid).cmdline()[0].startswith("rivet a-part")
    assert part.wait(10) == 3
    assert part.poll() == 3
    assert (tmp_path / "log").read_text() == "to the log"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_part_that_fails_says_why_in_its_log(server, tmp_path):
    assert forked(server, tmp_path, "fail").wait(20) == 1
    assert (tmp_path / "log").read_text().endswith("it fails\n")


def test_a_part_can_be_killed(server, tmp_path):
    part = forked(server, tmp_path, "60")
    told(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        part.wait(0.05)
    part.kill()
    assert part.wait(10) == -signal.SIGKILL


def test_what_one_is_told_is_not_in_the_memory_of_the_server_or_of_another(server, tmp_path):
    canary = "c4nary-" + os.urandom(12).hex()
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one = forked(server, folders[0], "60", KEY=canary)
    told(folders[0])
    two = forked(server, folders[1], "60", KEY="none")
    told(folders[1])
    assert canary.encode() in memory_of(one.pid)
    assert canary.encode() not in memory_of(two.pid)
    assert canary.encode() not in memory_of(psutil.Process(one.pid).ppid())
    for part in (one, two):
        part.kill()


def memory_of(pid: int) -> bytes:
    """All that it can write to."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            begin, end = (int(text, 16) for text in span.split("-"))
            if rights.startswith("rw"):
                memory.seek(begin)
                try:
                    found.append(memory.read(end - begin))
                except OSError:
                    continue
    return b"".join(found)


def test_what_it_forked_ends_with_the_server_and_the_next_request_has_a_new_one(server, tmp_path):
    part = forked(server, tmp_path, "60")
    told(tmp_path)
    first = psutil.Process(part.pid).ppid()
    os.kill(first, signal.SIGKILL)
    assert part.wait(10) == -signal.SIGKILL
    (tmp_path / "told").unlink()
    again = forked(server, tmp_path, "60")
    told(tmp_path)
    assert psutil.Process(again.pid).ppid() != first
    again.kill()
    assert again.wait(10) == -signal.SIGKILL


def test_what_is_loaded_beforehand_has_no_thread_no_file_and_no_setting_of_ours():
    code = textwrap.dedent(f"""
        import importlib, json, os, sys
        read = []
        def seen():
            return [sorted(os.listdir("/proc/self/fd")), os.listdir("/proc/self/task")]
        before = seen()
        get = os.environ.__class__.__getitem__
        def noted(self, name):
            read.append(name)
            return get(self, name)
        os.environ.__class__.__getitem__ = noted
        for name in {LOADED!r}:
            importlib.import_module(name)
        print(json.dumps([before == seen(), sorted(set(read)), [m for m in sys.modules if "rivet.tasks" in m]]))
    """)
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    same, read, tasks = json.loads(done.stdout)
    assert same
    assert not [name for name in read if name.startswith(("RIVET_", "FLOWER_"))]
    assert not tasks
