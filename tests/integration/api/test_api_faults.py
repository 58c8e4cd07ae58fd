"""The API while PostgreSQL or Redis is away, and at its own start and end."""

import http.client
import os
import signal
import subprocess
import sys
import time

import pytest

from rivet.client import Client
from rivet.store.unit import PostgresStore
from rivet.wiring.schema import ensure_token, migrate


def eventually(holds, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def beat_as_control(url):
    store = PostgresStore(url)
    with store.begin() as tx:
        tx.parts.beat("control-test", 5.0)
    store.close()


def test_readiness_names_what_is_missing_and_comes_back(serve, own_postgres, own_redis):
    url = own_postgres.dsn("postgres")
    migrate(url)
    api = serve(url, own_redis.url(0))
    ensure_token(url, kind="admin", name="alice", token=api.token)
    assert api.ask("GET", "/readyz", token="").json["failing"].keys() == {"control"}
    beat_as_control(url)
    assert api.ask("GET", "/readyz", token="").json == {"status": "ready"}
    own_redis.stop(signal.SIGKILL)
    told = api.ask("GET", "/readyz", token="")
    assert (told.status, told.json["failing"].keys()) == (503, {"redis"})
    run = api.start()
    assert run["status"] == "queued"
    own_redis.start()
    own_postgres.stop(signal.SIGKILL)
    told = api.ask("GET", "/readyz", token="")
    assert "postgresql" in told.json["failing"]
    away = api.ask("GET", "/runs")
    assert (away.status, away.json["code"]) == (503, "unavailable")
    assert away.headers["Retry-After"]
    assert api.ask("GET", "/healthz", token="").status == 200
    own_postgres.start()
    beat_as_control(url)
    assert api.ask("GET", f"/runs/{run['id']}").json["id"] == run["id"]
    assert api.ask("GET", "/readyz", token="").json == {"status": "ready"}
    assert b"Traceback" not in api.log.read_bytes()


def test_the_api_starts_while_postgresql_is_away(serve, own_postgres, redis_url):
    url = own_postgres.dsn("postgres")
    migrate(url)
    own_postgres.stop()
    api = serve(url, redis_url)
    assert api.ask("GET", "/runs").json["code"] == "unavailable"
    own_postgres.start()
    ensure_token(url, kind="admin", name="alice", token=api.token)
    assert api.ask("GET", "/runs").status == 200


def test_the_api_beats_so_that_leases_can_be_judged(api, store):
    def is_unbroken():
        with store.begin() as tx:
            return tx.parts.unbroken("api", 4.0, 2.0)

    eventually(is_unbroken)


def test_streams_do_not_keep_the_server_from_ending(serve, api, database_url, redis_url):
    own = serve(database_url, redis_url)
    run = api.start()
    connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=10)
    path = f"/api/v1/runs/{run['id']}/events"
    connection.request("GET", path, headers={"Authorization": f"Bearer {api.token}"})
    connection.getresponse().readline()
    began = time.monotonic()
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(15) == 0
    assert time.monotonic() - began < 8


def test_its_lua_process_dies_with_a_killed_api(serve, database_url, redis_url):
    own = serve(database_url, redis_url)
    with open(f"/proc/{own.process.pid}/task/{own.process.pid}/children") as file:
        worker = int(file.read().split()[0])
    zygotes = [pid for pid in _children_of(worker) if b"zygote.py" in _command(pid)]
    assert zygotes
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not any(b"zygote.py" in _command(pid) for pid in zygotes))


def _children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_a_killed_worker_is_replaced_and_a_follower_goes_on(serve, api, database_url, redis_url):
    own = serve(database_url, redis_url)
    run = api.start()
    events = Client(f"http://127.0.0.1:{own.port}", api.token).events(run["id"])
    first = next(events)
    with open(f"/proc/{own.process.pid}/task/{own.process.pid}/children") as file:
        os.kill(int(file.read().split()[0]), signal.SIGKILL)
    api.ask("POST", f"/runs/{run['id']}/cancel")
    rest = list(events)
    assert [first.data["status"], rest[-1].type] == ["queued", "end"]
    ids = [int(event.id) for event in (first, *rest)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"RIVET_SECRET_KEY": "short"}, "RIVET_SECRET_KEY has 5 characters"),
        ({"RIVET_DATABASE_URL": ""}, "RIVET_DATABASE_URL is not set"),
        ({}, "rivet migrate"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(postgres, redis_url, changed, said):
    env = {
        "PATH": os.environ["PATH"],
        "RIVET_DATABASE_URL": postgres.dsn("postgres"),
        "RIVET_BROKER_URL": redis_url,
        "RIVET_SECRET_KEY": "k" * 64,
    }
    ended = subprocess.run(
        [sys.executable, "-c", "from rivet.app import create_app; create_app()"],
        env=env | changed, capture_output=True, text=True, timeout=60, check=False,
    )
    assert ended.returncode == 3
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
