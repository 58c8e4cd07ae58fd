"""The whole system, from nothing to ready, and until it is asked to end."""

import os
from collections.abc import Callable
from pathlib import Path

from rivet.local import parts
from rivet.local.environment import Addresses, fork_server_environment, plain_environment
from rivet.local.forked import ForkServer
from rivet.local.free_disk import require_free_disk
from rivet.local.home import Home, kept_secret, leave_socket_folder
from rivet.local.ports import choose_port
from rivet.local.postgresql import database_url, postgresql
from rivet.local.redis_server import broker_url, redis_server
from rivet.local.state import State, forget_state
from rivet.local.supervisor import Asked, Supervisor
from rivet.local.tokens import admin_token, runner_token
from rivet.local.warden import end_parts, post_warden
from rivet.wiring.settings import Settings

DEFAULT_FLOWER_PORT = 5555
SERVER_TIMEOUT_S = 60.0
PREPARE_TIMEOUT_S = 120.0
PART_TIMEOUT_S = 90.0


def bring_up(
    settings: Settings,
    home: Home,
    *,
    port: int | None,
    flower_port: int | None,
    allow: Path | None,
    tell: Callable[[str], None],
    when_ready: Callable[[State], None],
) -> None:
    """Start everything, say once that it is ready, watch over it, and end it when asked.

    The caller holds the home's lock. `port` and `flower_port`: had or refused; 0 for any free one, None for
    the default or the next free one. `allow` is the folder that stages may clone from besides. Raises
    HomeUnusable, PortTaken and PartFailed; whatever had been started is then ended again.
    """
    require_free_disk(home, embedded=not settings.database_url)
    if ended := end_parts(home):
        tell(f"ended {ended} processes that the last `rivet up` had left behind")
    forget_state(home)
    api_port = choose_port(port, settings.port, option="--port")
    flower = choose_port(flower_port, DEFAULT_FLOWER_PORT, option="--flower-port", avoid=(api_port,))
    notes = []
    if allow is not None:
        settings = settings.model_copy(update={"allow_paths": _with(settings.allow_paths, allow)})
        notes.append(f"Stages may clone from {allow}, the folder this was started in.")
    warden = post_warden(home)
    server = ForkServer(home.path, home.logs / "fork-server.log", fork_server_environment())
    supervisor: Supervisor | None = None
    try:
        server.start()
        addresses = _addresses(settings, home, api_port, flower)
        supervisor = Supervisor(
            home, tell=tell, url=addresses.url, flower_url=addresses.flower_url, server=server
        )
        supervisor.listen_to_signals()
        _start(supervisor, settings, home, addresses)
        when_ready(supervisor.ready(notes))
        supervisor.watch()
        tell("stopping")
    except Asked:
        tell("asked to stop while starting")
    finally:
        if supervisor is not None:
            supervisor.stop()
        server.stop()
        leave_socket_folder(home)
        warden.dismiss()


def _start(supervisor: Supervisor, settings: Settings, home: Home, addresses: Addresses) -> None:
    """Start the parts, as much side by side as their needs allow."""
    plain = plain_environment(settings, home)
    servers = []
    if not settings.database_url:
        supervisor.start(postgresql(home, home.socket_folder(), plain))
        servers.append("postgresql")
    if not settings.broker_url:
        redis_port = int(addresses.broker_url.rpartition(":")[2].partition("/")[0])
        supervisor.start(redis_server(home, redis_port, plain))
        servers.append("redis")
    supervisor.wait_until_ready(servers, SERVER_TIMEOUT_S)
    supervisor.start(parts.flower(home, addresses, plain))
    supervisor.run_once(parts.migrations(settings, home, addresses, plain), PREPARE_TIMEOUT_S)
    supervisor.start(parts.api(settings, home, addresses, plain))
    supervisor.start(parts.control(settings, home, addresses, plain))
    supervisor.start(parts.runner(settings, home, addresses, plain))
    supervisor.wait_until_ready(("api", "control", "runner", "flower"), PART_TIMEOUT_S)


def _addresses(settings: Settings, home: Home, port: int, flower_port: int) -> Addresses:
    """Keys, passwords and tokens are made here, on first start."""
    admin_token(home)
    redis_port = choose_port(0, 0, option="", avoid=(port, flower_port))
    return Addresses(
        database_url=settings.database_url or database_url(home, home.socket_folder()),
        broker_url=settings.broker_url or broker_url(home, redis_port),
        secret_key=settings.secret_key or kept_secret(home.secret_key),
        runner_token=runner_token(home),
        flower_password=kept_secret(home.flower_password),
        port=port,
        flower_port=flower_port,
    )


def _with(allowed: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return allowed if str(folder) in allowed else (*allowed, str(folder))


def folder_to_allow() -> Path | None:
    """The folder that we were started in; None if it is gone, or is `/`, which would be everything."""
    try:
        folder = Path(os.getcwd())
    except OSError:
        return None
    return None if folder == Path("/") or "," in str(folder) else folder
