"""`rivet migrate`, `serve`, `control`, `flower`: the parts one by one. Each becomes the program it starts."""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from rivet.cli.failures import USAGE, Failed

if TYPE_CHECKING:
    from rivet.wiring.settings import Settings

THREADS = 128


@click.command()
def migrate() -> None:
    """Bring the database of RIVET_DATABASE_URL to this version's schema. Safe to call often.

    Example: RIVET_DATABASE_URL=postgresql://… rivet migrate
    """
    settings = _settings("database_url")
    from rivet.wiring.schema import migrate as bring_up_to_date

    bring_up_to_date(settings.database_url)
    click.echo("The database has this version's schema.")


@click.command()
@click.option("--host", help="The address to listen on. Default: RIVET_HOST, 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: RIVET_PORT, 8080.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(2, 4096), default=THREADS, show_default=True, help="Of each.")
def serve(host: str | None, port: int | None, workers: int, threads: int) -> None:
    """Serve the API under gunicorn. Followers of a log hold a thread each.

    Example: rivet serve --workers 2 --threads 512
    """
    settings = _settings("database_url", "broker_url", "secret_key")
    from rivet.wiring.commands import api_command

    become(*api_command(settings, host=host, port=port, workers=workers, threads=threads))


@click.command()
def control() -> None:
    """Run control, a Celery worker on the queue `control`. One is enough; more share the work.

    Example: rivet control
    """
    _settings("database_url", "broker_url", "secret_key")
    from rivet.wiring.commands import control_command

    become(*control_command())


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True)
def flower(host: str, port: int) -> None:
    """Serve Flower. It wants a password in FLOWER_BASIC_AUTH, as `name:password`.

    Example: FLOWER_BASIC_AUTH=me:… rivet flower
    """
    _settings("broker_url")
    if ":" not in os.environ.get("FLOWER_BASIC_AUTH", ""):
        raise Failed("Flower shows and stops workers: set FLOWER_BASIC_AUTH to name:password first.", USAGE)
    from rivet.wiring.commands import flower_command

    become(*flower_command(host, port))


def _settings(*needed: str) -> "Settings":
    from rivet.wiring.settings import Settings

    settings = Settings()
    missing = [f"RIVET_{name.upper()}" for name in needed if not getattr(settings, name)]
    if missing:
        raise Failed(
            f"{', '.join(missing)} must be set. `rivet up` sets everything by itself, on one machine.", USAGE
        )
    return settings


def become(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Be that program from here on, under the same pid, so that signals reach it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, dict(os.environ) | environment)
