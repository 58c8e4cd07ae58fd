"""One system for all that is killed at a place."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..chaos.effects import Effects
from .crash_plant import CrashPlant, end_plant, start_plant


@pytest.fixture(scope="package")
def crash_plant() -> Iterator[CrashPlant]:
    folder = Path(tempfile.mkdtemp(prefix="rvx"))
    try:
        with Effects() as effects:
            yield start_plant(folder, effects)
    finally:
        end_plant(folder)
        for _ in range(100):
            # What was killed in a hurry may still be writing its last.
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.1)
