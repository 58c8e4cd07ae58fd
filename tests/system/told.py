"""What `rivet up` has told its parts by their environment.

A part that was forked shows the environment of the fork server in `/proc`, not its own: it is worked out here as
`rivet up` does it, from the same settings and the same home.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

from rivet.local.environment import Addresses, plain_environment, runner_environment, server_environment
from rivet.local.home import Home
from rivet.local.postgresql import database_url
from rivet.local.redis_server import broker_url
from rivet.local.state import State, read_state
from rivet.wiring.commands import api_command, control_command, runner_command
from rivet.wiring.settings import Settings


def environment_of(part: str, env: Mapping[str, str], slots: int = 2) -> dict[str, str]:
    """Of `api`, `control` or `runner`, where `rivet up` was called with `env`."""
    with patch.dict(os.environ, env, clear=True):
        settings = Settings().model_copy(update={"slots": slots})
        home = Home(settings.home)
        state = read_state(home)
        assert state is not None
        addresses = _addresses(settings, home, state)
        plain = plain_environment(settings, home)
        if part == "runner":
            return runner_environment(plain, settings, addresses) | runner_command(settings)[1]
        told = api_command(settings)[1] if part == "api" else control_command()[1]
        return server_environment(plain, settings, addresses) | told


def _addresses(settings: Settings, home: Home, state: State) -> Addresses:
    return Addresses(
        database_url=settings.database_url or database_url(home, _socket_folder(home)),
        broker_url=settings.broker_url or broker_url(home, _redis_port(home)),
        secret_key=settings.secret_key or home.secret_key.read_text().strip(),
        runner_token=home.runner_token.read_text().strip(),
        flower_password=home.flower_password.read_text().strip(),
        port=urlsplit(state.url).port or 0,
        flower_port=urlsplit(state.flower_url).port or 0,
    )


def _redis_port(home: Home) -> int:
    lines = (home.redis / "redis.conf").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("port ")).split()[1])


def _socket_folder(home: Home) -> Path:
    """Its lines are the process, the data folder, the start, the port and the folder of the sockets."""
    return Path((home.postgresql / "postmaster.pid").read_text().splitlines()[4])
