"""Whole systems for tests: one that all share, and one for those who break things."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .rivet_home import RivetHome


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
def system(make_home) -> RivetHome:
    """Shared: nothing in it is killed."""
    return make_home()


@pytest.fixture
def fragile(make_home) -> Iterator[RivetHome]:
    """Of one test's own, with a lease of 2 s."""
    home = make_home(environment={"RIVET_LEASE_SECONDS": "2"})
    yield home
    home.down()
