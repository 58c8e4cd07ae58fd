"""Whole systems for tests: one that all share, and one for those who break things."""

import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.plugin_folders import GOOD, WILD, a_package, install_semver, python_path

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
def plugins(tmp_path_factory) -> str:
    """A path with three plug-ins: that of the examples, one that fails, and one that cannot be imported."""
    folder, broken = tmp_path_factory.mktemp("plugins"), tmp_path_factory.mktemp("broken")
    a_package(broken, "rivet-broken", {"broken": "of_broken"}, {"of_broken.py": "raise RuntimeError('no good')"})
    a_package(broken, "rivet-echo", {"echo": "of_echo"}, {"of_echo.py": GOOD.format(name="echo") + WILD})
    return python_path(install_semver(folder), broken)


@pytest.fixture(scope="session")
def system(make_home, web, plugins) -> RivetHome:
    """Shared: nothing in it is killed."""
    return make_home(environment={"RIVET_ALLOW_HOSTS": f"127.0.0.1:{web.port}", "PYTHONPATH": plugins})


@pytest.fixture
def fragile(make_home) -> Iterator[RivetHome]:
    """Of one test's own, with a lease of 2 s."""
    home = make_home(environment={"RIVET_LEASE_SECONDS": "2"})
    yield home
    home.down()
