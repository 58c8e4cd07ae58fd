"""Whole systems for tests: one that all share, and one for those who break things."""

import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .rivet_home import RivetHome, Web


@pytest.fixture(scope="session")
def make_home() -> Iterator[Callable[..., RivetHome]]:
    """Makes systems that run; all of them are stopped and removed at the end."""
    homes: list[RivetHome] = []

    def make(**options: object) -> RivetHome:
        folder = Path(tempfile.mkdtemp(prefix="rv"))
        folder.chmod(0o755)
        home = RivetHome(folder, **options)  # type: ignore[arg-type]
        homes.append(home)
        home.up()
        return home

    yield make
    for home in homes:
        home.down()
        shutil.rmtree(home.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def web(tmp_path_factory) -> Iterator[Web]:
    """A web server on loopback, which the shared system's operator allows."""
    folder = tmp_path_factory.mktemp("web")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Web(folder, server.server_port)
    server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Tests say nothing that is not asked for."""


@pytest.fixture(scope="session")
def system(make_home, web) -> RivetHome:
    """Shared: nothing in it is killed."""
    return make_home(environment={"RIVET_ALLOW_HOSTS": f"127.0.0.1:{web.port}"})


@pytest.fixture
def fragile(make_home) -> Iterator[RivetHome]:
    """Of one test's own, with a lease of 2 s."""
    home = make_home(environment={"RIVET_LEASE_SECONDS": "2"})
    yield home
    home.down()
