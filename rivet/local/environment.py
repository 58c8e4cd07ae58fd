"""What each part is told by its environment, and what it is not: a runner knows no database and no key."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rivet.domain.limits import BOUNDS
from rivet.local.home import Home
from rivet.wiring.settings import Settings


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers are, and as whom to speak to them. Everything here but the ports is secret."""

    database_url: str
    broker_url: str
    secret_key: str
    runner_token: str
    flower_password: str
    port: int
    flower_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self.flower_port}"


def plain_environment(settings: Settings, home: Home) -> dict[str, str]:
    """Ours without any `RIVET_*`, and what every part is told. No part reads `rivet.toml` a second time."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RIVET_", "FLOWER_"))}
    return kept | {
        "RIVET_HOME": str(home.path),
        "RIVET_CONFIG": os.devnull,
        "RIVET_LOG_LEVEL": settings.log_level,
        "RIVET_LOG_FORMAT": settings.log_format,
        "RIVET_LEASE_SECONDS": str(settings.lease_seconds),
        "RIVET_PLUGINS": ",".join(settings.plugins),
        "PYTHONUNBUFFERED": "1",
    }


def fork_server_environment() -> dict[str, str]:
    """What an interpreter has to know when it starts, and nothing secret: all that it forks has it too.

    What a part is told it is told when it is forked.
    """
    needed = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    return {
        name: value
        for name, value in os.environ.items()
        if name in needed or name.startswith(("LC_", "PYTHON"))
    } | {"PYTHONUNBUFFERED": "1"}


def server_environment(plain: Mapping[str, str], settings: Settings, addresses: Addresses) -> dict[str, str]:
    """For API, control and migrations."""
    return dict(plain) | {
        "RIVET_DATABASE_URL": addresses.database_url,
        "RIVET_BROKER_URL": addresses.broker_url,
        "RIVET_SECRET_KEY": addresses.secret_key,
        "RIVET_URL": addresses.url,
        "RIVET_HOST": settings.host,
        "RIVET_PORT": str(addresses.port),
        "RIVET_MAX_STAGE_SECONDS": str(settings.max_stage_seconds),
        "RIVET_MAX_RUN_SECONDS": str(settings.max_run_seconds),
        "RIVET_ARTIFACTS_URL": settings.artifacts_url,
        "RIVET_ARTIFACT_MIB": str(settings.artifact_mib),
        "RIVET_CACHE_MIB": str(settings.cache_mib),
        "RIVET_SNAPSHOT_MIB": str(settings.snapshot_mib),
        "RIVET_PUBLIC_METRICS": str(settings.public_metrics).lower(),
        "RIVET_LOGS_IN": settings.logs_in,
        **_bounds_of_keeping(settings),
    }


def runner_environment(plain: Mapping[str, str], settings: Settings, addresses: Addresses) -> dict[str, str]:
    """For the runner. The tools of Rivet's own environment come last on its PATH, after those of the user.

    Where artifacts are in a bucket, the keys to it are not the runner's to have.
    """
    own_tools = str(Path(sys.executable).parent)
    path = plain.get("PATH", os.defpath)
    if own_tools not in path.split(os.pathsep):
        path = os.pathsep.join((path, own_tools))
    kept = {
        name: value
        for name, value in plain.items()
        if not (name.startswith("AWS_") and settings.artifacts_url.startswith("s3://"))
    }
    return kept | {
        "RIVET_BROKER_URL": addresses.broker_url,
        "RIVET_URL": addresses.url,
        "RIVET_TOKEN": addresses.runner_token,
        "RIVET_QUEUES": ",".join(settings.queues),
        "RIVET_SLOTS": str(settings.slots),
        "RIVET_RUNNER_NAME": settings.runner_name,
        "RIVET_ISOLATION": settings.isolation,
        "RIVET_STAGE_UIDS": settings.stage_uids,
        "RIVET_ALLOW_NETWORK": settings.allow_network,
        "RIVET_ALLOW_HOSTS": ",".join(settings.allow_hosts),
        "RIVET_ALLOW_PATHS": ",".join(settings.allow_paths),
        "RIVET_TOOLS": ",".join(settings.tools),
        **_limits(settings),
        "PATH": path,
    }


def _bounds_of_keeping(settings: Settings) -> dict[str, str]:
    """How long, and how much of what, is kept."""
    names = {name for name in type(settings).model_fields if name.startswith("keep_")}
    return {f"RIVET_{name.upper()}": str(value) for name, value in settings.model_dump(include=names).items()}


def _limits(settings: Settings) -> dict[str, str]:
    """What stages may use up at most."""
    names = {bound.setting.removeprefix("RIVET_").lower() for bound in BOUNDS.values()}
    told = settings.model_dump(include=names)
    return {f"RIVET_{name.upper()}": str(value) for name, value in told.items()}


def flower_environment(plain: Mapping[str, str], addresses: Addresses) -> dict[str, str]:
    """For Flower, whose password is thereby in no argument list."""
    return dict(plain) | {
        "RIVET_BROKER_URL": addresses.broker_url,
        "FLOWER_BASIC_AUTH": f"rivet:{addresses.flower_password}",
    }
