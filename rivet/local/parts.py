"""The parts that are Rivet itself (API, control, runner, Flower), each as its own command does it."""

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
from rivet.local.tokens import admin_token
from rivet.wiring.commands import api_command, control_command, flower_command, runner_command
from rivet.wiring.settings import Settings

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
    env = server_environment(plain, settings, addresses)
    argv, told = api_command(settings, port=addresses.port)
    return Part(
        name="api",
        argv=tuple(argv),
        is_forked=True,
        env=env | told,
        folder=home.path,
        log=home.logs / "api.log",
        ready=lambda: _answers(addresses.url, "/healthz"),
        death_signal=signal.SIGQUIT,
    )


def control(settings: Settings, home: Home, addresses: Addresses, plain: Mapping[str, str]) -> Part:
    """Ready when the API says that the whole is."""
    env = server_environment(plain, settings, addresses)
    argv, told = control_command()
    return Part(
        name="control",
        argv=tuple(argv),
        is_forked=True,
        env=env | told,
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

    env = runner_environment(plain, settings, addresses)
    argv, told = runner_command(settings)
    return Part(
        name="runner",
        argv=tuple(argv),
        is_forked=True,
        env=env | told,
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
    argv, told = flower_command("127.0.0.1", addresses.flower_port)
    return Part(
        name="flower",
        argv=tuple(argv),
        is_forked=True,
        env=flower_environment(plain, addresses) | told,
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
