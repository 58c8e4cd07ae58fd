"""Embedded PostgreSQL and Redis: started, reached only with their passwords, and again after a kill -9."""

import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis
from sqlalchemy import create_engine, text

from rivet.local.home import Home, leave_socket_folder
from rivet.local.part import Part
from rivet.local.ports import choose_port
from rivet.local.postgresql import database_url, postgresql
from rivet.local.processes import working_in
from rivet.local.redis_server import broker_url, redis_server
from rivet.local.supervisor import Supervisor


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.prepare()
    yield made
    assert not working_in(made.postgresql, "postgres")


@pytest.fixture
def supervisor(home: Home) -> Iterator[Supervisor]:
    made = Supervisor(home, tell=lambda _: None)
    yield made
    made.stop()
    leave_socket_folder(home)


def kill_and_wait(supervisor: Supervisor, name: str) -> None:
    running = supervisor._parts[name].running
    assert running is not None
    running.kill()
    deadline = time.monotonic() + 30
    while supervisor._parts[name].running is running or supervisor._parts[name].state != "running":
        assert time.monotonic() < deadline
        supervisor._look_after(supervisor._parts[name])
        supervisor._sleep(0.05)


def dsn_of(home: Home) -> str:
    return database_url(home, home.socket_folder()).replace("+psycopg2", "")


def postgres_part(home: Home) -> Part:
    return postgresql(home, home.socket_folder(), dict(os.environ))


def test_postgresql_starts_also_as_root_and_keeps_what_it_was_given(
    home: Home, supervisor: Supervisor
) -> None:
    supervisor.start(postgres_part(home))
    supervisor.wait_until_ready(["postgresql"], 60)
    with psycopg2.connect(dsn_of(home)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (n integer); INSERT INTO kept VALUES (7)")
    connection.close()
    kill_and_wait(supervisor, "postgresql")
    with psycopg2.connect(dsn_of(home)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n, current_setting('listen_addresses') FROM kept")
        assert cursor.fetchall() == [(7, "")]
    connection.close()


def test_postgresql_lets_nobody_in_but_its_one_role_with_its_password(
    home: Home, supervisor: Supervisor
) -> None:
    supervisor.start(postgres_part(home))
    supervisor.wait_until_ready(["postgresql"], 60)
    folder = home.socket_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for wrong in (
        f"postgresql://rivet:no@/rivet?host={folder}",
        f"postgresql://postgres@/postgres?host={folder}",
    ):
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(wrong)
    connection = psycopg2.connect(dsn_of(home))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchall() == [(False,)]
    connection.close()


def test_a_lost_password_is_made_anew(home: Home, supervisor: Supervisor) -> None:
    postgres_part(home)
    home.database_password.unlink()
    supervisor.start(postgres_part(home))
    supervisor.wait_until_ready(["postgresql"], 60)
    psycopg2.connect(dsn_of(home)).close()


def test_a_data_folder_that_was_not_finished_is_made_again(home: Home) -> None:
    (home.path / "postgresql.new").mkdir()
    (home.path / "postgresql.new" / "PG_VERSION").write_text("18")
    postgres_part(home)
    assert (home.postgresql / "pg_hba.conf").read_text() == "local rivet rivet scram-sha-256\n"


def test_a_lock_file_of_a_killed_server_stops_nobody(home: Home, supervisor: Supervisor) -> None:
    part = postgres_part(home)
    # The pid in it is alive, but it is somebody else's.
    (home.postgresql / "postmaster.pid").write_text(f"{os.getpid()}\n{home.postgresql}\n1\n5432\n\n\n")
    supervisor.start(part)
    supervisor.wait_until_ready(["postgresql"], 60)


@pytest.mark.parametrize("name", ['r "x" 100% ä&?', "a,b"])
def test_a_home_may_have_any_name(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix=name) as folder:
        home = Home(Path(folder) / "h")
        home.prepare()
        supervisor = Supervisor(home, tell=lambda _: None)
        try:
            supervisor.start(postgres_part(home))
            supervisor.start(redis_server(home, choose_port(0, 0, option=""), dict(os.environ)))
            supervisor.wait_until_ready(["postgresql", "redis"], 60)
            psycopg2.connect(dsn_of(home)).close()
            with create_engine(database_url(home, home.socket_folder())).connect() as connection:
                assert connection.execute(text("SELECT 1")).scalar() == 1
        finally:
            supervisor.stop()
            leave_socket_folder(home)


def test_redis_wants_its_password_and_keeps_what_it_was_given(home: Home, supervisor: Supervisor) -> None:
    port = choose_port(0, 0, option="")
    part = redis_server(home, port, dict(os.environ))
    password = home.broker_password.read_text().strip()
    assert password not in " ".join(part.argv)
    supervisor.start(part)
    supervisor.wait_until_ready(["redis"], 30)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port).ping()
    with redis.Redis.from_url(broker_url(home, port)) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        client.set("kept", 7)
        time.sleep(1.2)  # its file is synced every second
    kill_and_wait(supervisor, "redis")
    with redis.Redis.from_url(broker_url(home, port)) as client:
        assert client.get("kept") == b"7"
    assert stat.S_IMODE((home.redis / "redis.conf").stat().st_mode) == 0o600


def test_servers_die_with_the_one_who_started_them(home: Home) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            supervisor = Supervisor(home, tell=lambda _: None)
            supervisor.start(postgres_part(home))
            supervisor.wait_until_ready(["postgresql"], 60)
            os.write(write, b"ready")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 5) == b"ready"
    os.close(read)
    servers = working_in(home.postgresql, "postgres")
    assert servers
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert all(server.wait(20) for server in servers)
