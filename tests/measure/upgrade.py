"""`python -m tests.measure.upgrade --runs N`: how long a database of the first version takes to this one's schema."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import zstandard

from rivet.wiring.schema import migrate

from ..conftest import PostgresServer
from .old_database import OLD, bring_to, fill


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.upgrade", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rvu", dir="/tmp"))
    server = PostgresServer(folder)
    server.start()
    try:
        server.execute("CREATE DATABASE old")
        url = server.dsn("old")
        bring_to(url, OLD)
        fill(url, asked.runs, zstandard.compress(b"x" * 2000), every_s=min(60.0, 30 * 86400 / asked.runs))
        began = time.monotonic()
        migrate(url)
        print(f"{asked.runs} runs with {12 * asked.runs} records: {time.monotonic() - began:.2f} s")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
