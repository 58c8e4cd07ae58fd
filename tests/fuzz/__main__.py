"""Fuzz one reader with atheris, guided by coverage, until it breaks or its time is over.

    python -m tests.fuzz TARGET [--seconds 60] [--corpus FOLDER]

atheris is an extra: pip install -e '.[fuzz]'. What breaks a reader is written to a file `crash-…` in the working
directory; the same command with that file as its last argument plays it again.
"""

import argparse
import sys
import tempfile
from pathlib import Path

RUNTIME = ("rivet.domain", "rivet.sandbox.frames", "rivet.runner.room_link", "rivet.runner.proxy_request", "rivet.runner.log_writer")


def main() -> None:
    given = argparse.ArgumentParser(prog="python -m tests.fuzz")
    given.add_argument("target")
    given.add_argument("--seconds", type=int, default=60)
    given.add_argument("--corpus", default=None, help="a folder that inputs are read from and kept in")
    given.add_argument("again", nargs="?", help="a file to play again")
    asked = given.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install -e '.[fuzz]'")
    with atheris.instrument_imports(include=list(RUNTIME)):
        from tests.fuzz.targets import SEEDS, TARGETS
    if asked.target not in TARGETS:
        sys.exit(f'no target "{asked.target}"; there are {", ".join(TARGETS)}')
    corpus = Path(asked.corpus or tempfile.mkdtemp(prefix="fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[asked.target]):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [sys.argv[0], f"-max_total_time={asked.seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([*options, asked.again or str(corpus)], TARGETS[asked.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
