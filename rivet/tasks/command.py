"""How the workers of both roles are started: a command line, and what is put into its environment."""

import sys

from rivet.domain.runner import shared_queue_of
from rivet.wiring.settings import Settings

_WORKER = ("-m", "celery", "-A", "rivet.tasks", "worker", "--without-gossip", "--without-mingle")


def control_command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Control: settles, ingests and keeps up, on queue `control`."""
    celery, *worker = _WORKER[1:]
    argv = [
        # Quiet is Celery's banner: no line of it is JSON.
        sys.executable, "-m", celery, "--quiet", *worker, "-P", "threads", "-c", "2", "-Q", "control",
        "-n", "control@%h", "--loglevel", settings.log_level,
    ]
    return argv, {"RIVET_ROLE": "control"}


def runner_command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """A runner, on the queues and with the slots and name that the settings say."""
    queues = ",".join(shared_queue_of(queue) for queue in settings.queues)
    argv = [
        sys.executable, *_WORKER, "-P", "prefork", "-c", str(settings.slots), "-Q", queues,
        "-n", f"{settings.runner_name}@%h", "--loglevel", settings.log_level,
    ]
    environment = {
        "RIVET_ROLE": "runner",
        "RIVET_QUEUES": ",".join(settings.queues),
        "RIVET_SLOTS": str(settings.slots),
        "RIVET_RUNNER_NAME": settings.runner_name,
    }
    return argv, environment
