"""The WSGI application: `gunicorn --worker-class rivet.api.worker.ProblemWorker 'rivet.app:create_app()'`."""

import functools
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from apiflask import APIFlask

from rivet import __version__
from rivet.api.approvals import approvals
from rivet.api.artifacts import artifacts
from rivet.api.blobs import DigestConverter, blobs
from rivet.api.desk import put_web
from rivet.api.document import SECURITY, complete
from rivet.api.events import events
from rivet.api.folders import folders
from rivet.api.gate import register_gate
from rivet.api.health import health
from rivet.api.logs import logs
from rivet.api.metrics import metrics, register_latencies
from rivet.api.pauses import pauses
from rivet.api.pipelines import pipelines
from rivet.api.plans import plans
from rivet.api.problems import register_problems
from rivet.api.projects import projects
from rivet.api.reference import with_operations
from rivet.api.request_id import register_request_ids
from rivet.api.reruns import reruns
from rivet.api.runner_protocol import runner_protocol
from rivet.api.runner_secrets import runner_secrets
from rivet.api.runners import runners
from rivet.api.runs import runs
from rivet.api.secrets import secrets
from rivet.api.sizes import sizes
from rivet.domain.errors import RivetError
from rivet.telemetry.logs import set_up_logs
from rivet.wiring.settings import Settings
from rivet.wiring.web import Web, open_web

_log = logging.getLogger(__name__)

THREADS = 128
CANNOT_START = 3
"""gunicorn takes this exit code of a worker as "it cannot start", and ends instead of trying for ever."""


def create_app(threads: int = THREADS) -> APIFlask:
    """The app with everything wired, as the settings of the environment say.

    `threads` is what the server was given: three quarters of them may hold event streams. Exits with code 3
    and one line on standard error where it cannot start.
    """
    try:
        settings = Settings()
        set_up_logs(settings.log_format, settings.log_level)
        web = open_web(settings, threads=threads)
    except (RivetError, ValueError) as error:
        sys.stderr.write(f"rivet: the API cannot start: {getattr(error, 'message', error)}\n")
        raise SystemExit(CANNOT_START) from None
    _close_streams_on_signal(web)
    return app_with(web)


def app_with(web: Web | None) -> APIFlask:
    """The app over what was wired elsewhere; without it, it can say what it offers and nothing more."""
    app = APIFlask(
        "rivet", title="Rivet", version=__version__, spec_path="/api/v1/openapi.json", docs_path=None,
        json_errors=False,
    )
    app.config.update(
        SECURITY_SCHEMES=SECURITY,
        DESCRIPTION="Errors are RFC 9457 problem+json with a stable `code`.",
        AUTO_OPERATION_ID=True,
        AUTO_404_RESPONSE=False,
        AUTO_SERVERS=False,
    )
    app.url_map.converters["digest"] = DigestConverter
    if web is not None:
        put_web(app.extensions, web)
    register_request_ids(app)
    register_latencies(app)
    register_gate(app)
    register_problems(app)
    for resource in (
        projects, pipelines, plans, runs, reruns, approvals, logs, events, artifacts, folders, secrets,
        runners, pauses, runner_protocol, blobs, runner_secrets, sizes,
    ):  # fmt: skip
        prefix = "/api/v1" + (resource.url_prefix or "")
        app.register_blueprint(resource, url_prefix=prefix)
    app.register_blueprint(health)
    app.register_blueprint(metrics)
    app.spec_processor(functools.partial(complete, app=app))
    return app


def write_operations(page: Path) -> None:
    """Write what the API offers into a page of documentation."""
    page.write_text(with_operations(page.read_text(), app_with(None).spec))


def _close_streams_on_signal(web: Web) -> None:
    """gunicorn waits for open requests when it ends; streams never end by themselves, so they are told."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        before = signal.getsignal(number)

        def ending(got: int, frame: FrameType | None, before: object = before) -> None:
            web.closing.set()
            if callable(before):
                before(got, frame)

        if callable(before):
            signal.signal(number, ending)
            signal.siginterrupt(number, False)


if __name__ == "__main__":
    write_operations(Path(sys.argv[1]))
