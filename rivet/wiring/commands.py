"""How each part is started by itself: its command line, and what is put into its environment."""

import importlib.util
import sys

from rivet.wiring.settings import Settings

API_THREADS = 128

Started = tuple[list[str], dict[str, str]]

# -P: the working directory is not where modules are looked for.
_PYTHON = (sys.executable, "-P", "-m")


def api_command(
    settings: Settings, *, host: str | None = None, port: int | None = None, workers: int = 1,
    threads: int = API_THREADS,
) -> Started:  # fmt: skip
    """The API under gunicorn."""
    argv = [
        *_PYTHON, "gunicorn", f"rivet.app:create_app(threads={threads})",
        "--bind", f"{host or settings.host}:{port or settings.port}",
        "--worker-class", "rivet.api.worker.ProblemWorker",
        "--logger-class", "rivet.api.server_log.ServerLog",
        "--workers", str(workers), "--threads", str(threads),
        "--graceful-timeout", "5", "--keep-alive", "75", "--timeout", "60",
        "--log-level", settings.log_level, *_no_control_socket(),
    ]  # fmt: skip
    return argv, {"RIVET_LOG_FORMAT": settings.log_format}


def control_command() -> Started:
    """Control: settles, ingests and keeps up, on queue `control`."""
    return [*_PYTHON, "rivet.tasks"], {"RIVET_ROLE": "control"}


def runner_command(settings: Settings) -> Started:
    """A runner, on the queues and with the slots and name that the settings say."""
    environment = {
        "RIVET_ROLE": "runner",
        "RIVET_QUEUES": ",".join(settings.queues),
        "RIVET_SLOTS": str(settings.slots),
        "RIVET_RUNNER_NAME": settings.runner_name,
    }
    return [*_PYTHON, "rivet.tasks"], environment


def flower_command(host: str, port: int) -> Started:
    """Flower, which finds its password in FLOWER_BASIC_AUTH."""
    argv = [*_PYTHON, "celery", "-A", "rivet.tasks", "flower", f"--address={host}", f"--port={port}"]
    return argv, {"RIVET_ROLE": "flower"}


def _no_control_socket() -> tuple[str, ...]:
    """Newer gunicorns open a control socket in the home of the user, which is nobody's business here."""
    return ("--no-control-socket",) if importlib.util.find_spec("gunicorn.ctl") else ()
