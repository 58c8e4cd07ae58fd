"""The parts that are Rivet itself (API, control, runner, Flower), each by the command that anyone can use."""

import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.local.environment import (
    Addresses,
    flower_environment,
    runner_environment,
    server_environment,
)
from rivet.local.home import Home
from rivet.local.part import Part
from rivet.local.prepare import admin_token
from rivet.wiring.settings import Settings

# -P: the working directory is not where modules are looked for.
_RIVET = (sys.executable, "-P", "-m", "rivet")
_PROBE_TIMEOUT_S = 3.0


def migrations(settings: Settings, home: Home, addresses: Addresses, plain: Mapping[str, str]) -> Part:
    """Runs to its end before the others start."""
    env = server_environment(plain, settings, addresses) | {"RIVET_QUEUES": ",".join(settings.queues)}
    return Part(
        name="prepare",
        argv=(sys.executable, "-P", "-m", "rivet.local.prepare"),
        env=env,
        folder=home.path,
        log=home.logs / "prepare.log",
        ready=lambda: True,
        death_signal=signal.SIGKILL,
    )


def api(settings: Settings, home: Home, addresses: Addresses, plain: Mapping[str, str]) -> Part:
    """Ready when it answers, and says that it has what it needs."""
    return Part(
        name="api",
        argv=(*_RIVET, "serve"),
        env=server_environment(plain, settings, addresses),
        folder=home.path,
        log=home.logs / "api.log",
        ready=lambda: _answers(addresses.url, "/healthz"),
        death_signal=signal.SIGQUIT,
    )


def control(settings: Settings, home: Home, addresses: Addresses, plain: Mapping[str, str]) -> Part:
    """Ready when the API says that the whole is."""
    return Part(
        name="control",
        argv=(*_RIVET, "control"),
        env=server_environment(plain, settings, addresses),
        folder=home.path,
        log=home.logs / "control.log",
        ready=lambda: _answers(addresses.url, "/readyz"),
        death_signal=signal.SIGQUIT,
    )


def runner(settings: Settings, home: Home, addresses: Addresses, plain: Mapping[str, str]) -> Part:
    """Ready when it has registered and the API knows it as online. Asked to stop, it ends its work first."""
    session = home.path / "runners" / settings.runner_name / "session"
    begun = [time.time()]

    def ready() -> bool:
        try:
            # The API still takes the last process of this name for alive, for as long as a lease.
            if session.stat().st_mtime < begun[0]:
                return False
            answer = Client(addresses.url, admin_token(home), _PROBE_TIMEOUT_S).call(
                "GET", "/runners?limit=500"
            )
            return any(
                one["name"] == settings.runner_name and one["status"] == "online" for one in answer["items"]
            )
        except (ApiUnreachable, ApiProblem, OSError, KeyError, TypeError):
            return False

    return Part(
        name="runner",
        argv=(*_RIVET, "runner", "start"),
        env=runner_environment(plain, settings, addresses),
        folder=home.path,
        log=home.logs / "runner.log",
        ready=ready,
        death_signal=signal.SIGQUIT,
        patience_s=20.0,
        ends_in_wave=1,
        clear_up=lambda: begun.__setitem__(0, time.time()),
    )


def flower(home: Home, addresses: Addresses, plain: Mapping[str, str]) -> Part:
    """Ready when it answers its own health check."""
    return Part(
        name="flower",
        argv=(*_RIVET, "flower", "--port", str(addresses.flower_port)),
        env=flower_environment(plain, addresses),
        folder=home.path,
        log=home.logs / "flower.log",
        ready=lambda: _answers(addresses.flower_url, "/healthcheck"),
        death_signal=signal.SIGKILL,
    )


def _answers(url: str, path: str) -> bool:
    """Whether that address answers 200. Any proxy of the environment is passed by."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url + path, timeout=_PROBE_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False
