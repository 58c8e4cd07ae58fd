"""Homes of `rivet up`: two side by side, one of an older version, one on a disk that is full."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import text

from rivet.store.connect import engine_for
from tests.measure.old_database import OLD, bring_to, fill

from ..system.told import environment_of
from .conftest import RIVET, Terminal


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Terminal]:
    """A second one on the same machine, of another home."""
    (tmp_path / "another").mkdir()
    made = Terminal(tmp_path / "another", tmp_path / "other-home")
    yield made
    assert made.rivet("down").returncode == 0


def status_of(terminal: Terminal) -> dict[str, object]:
    return json.loads(terminal.rivet("status", "--json").stdout)


@pytest.mark.timeout(240)
def test_two_homes_live_side_by_side_and_ports_give_way(fresh: Terminal, another: Terminal) -> None:
    for one in (fresh, another):
        done = one.rivet("up", "--detach")
        assert done.returncode == 0, done.stderr
    first, second = status_of(fresh), status_of(another)
    assert first["url"] != second["url"]
    assert first["flower_url"] != second["flower_url"]
    for one, name in ((fresh, "here"), (another, "there")):
        done = one.rivet("run", one.pipeline(name, f'log.info("from {name}")'))
        assert (done.returncode, f"from {name}" in done.stdout) == (0, True), done.stderr
    assert [run["pipeline"] for run in json.loads(fresh.rivet("runs", "list", "--json").stdout)["items"]] == ["here"]
    assert another.rivet("down").returncode == 0
    assert fresh.rivet("run", "here").returncode == 0
    for part in ("api", "control", "runner", "postgresql", "redis"):
        assert fresh.rivet("status", "--logs", part).returncode == 0
    assert "ready" in fresh.rivet("status", "--logs", "runner").stdout
    unknown = fresh.rivet("status", "--logs", "nobody")
    assert (unknown.returncode, "runner" in unknown.stderr) == (2, True)


@pytest.mark.timeout(240)
def test_the_home_of_an_older_version_is_brought_to_this_one_with_all_in_it(fresh: Terminal) -> None:
    assert fresh.rivet("up", "--detach", "--port", "0", "--flower-port", "0").returncode == 0
    url = environment_of("control", fresh.env())["RIVET_DATABASE_URL"]
    engine = engine_for(url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    bring_to(url, OLD)
    fill(url, 200, zstandard.compress(b"said long ago"))
    assert fresh.rivet("down").returncode == 0
    done = fresh.rivet("up", "--detach", "--port", "0", "--flower-port", "0")
    assert done.returncode == 0, done.stderr
    runs = json.loads(fresh.rivet("runs", "list", "--limit", "500", "--json").stdout)["items"]
    assert len(runs) == 200
    assert "said long ago" in fresh.rivet("runs", "logs", "old-3#5").stdout
    assert fresh.rivet("run", fresh.pipeline("new", 'log.info("hello")')).returncode == 0
    assert "new#1" in fresh.rivet("runs", "list").stdout


def test_a_full_disk_is_told_before_anything_is_started(fresh: Terminal) -> None:
    fresh.home.mkdir()
    alone = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
    small = f"mount -t tmpfs -o size=30m none {fresh.home} && exec \"$@\""
    done = subprocess.run(
        [*alone, "sh", "-c", small, "sh", *RIVET, "up", "--port", "0", "--flower-port", "0"],
        cwd=fresh.folder, env=fresh.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "MiB left, and a new home takes 64" in done.stderr
    assert "RIVET_HOME" in done.stderr
    assert list(fresh.home.iterdir()) == []
