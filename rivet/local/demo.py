"""`rivet demo`: the whole system in a temporary home, a real run of a real repository, and stop."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

import rivet
from rivet.local.detach import start_detached
from rivet.local.down import stop
from rivet.local.home import Home
from rivet.local.told import USAGE, Failed, failures_told, tell

RUN_TIMEOUT_S = 300.0
_SEED_URL = "https://github.com/user/repo.git"
_RIVET = (sys.executable, "-P", "-m", "rivet")


@click.command()
def demo() -> int:
    """Start everything, run the example pipeline on a real git repository, and stop again.

    Nothing of yours is touched: it lives in a temporary folder, on free ports. The exit code is the run's.

    Example: rivet demo
    """
    begun = time.monotonic()
    examples = Path(rivet.__file__).resolve().parents[1] / "examples"
    if not (examples / "seed.lua").is_file():
        raise Failed(f"the examples are not in {examples}: the demo runs from a checkout of Rivet.", USAGE)
    if shutil.which("git") is None:
        raise Failed("git is not on PATH. Install the package git: apt-get install git", USAGE)
    folder = Path(tempfile.mkdtemp(prefix="rivet-demo-"))
    home = Home(folder / "home")
    env = _environment(folder, home)
    code = None
    try:
        with failures_told():
            code = _show(examples, folder, home, env)
    finally:
        if home.path.exists():
            tell("stopping")
            stop(home)
        if code is None:
            tell(f"the logs are kept in {home.logs}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    tell(f"everything is stopped and removed; it took {time.monotonic() - begun:.0f} s")
    _say_what_next(code)
    return code


def _show(examples: Path, folder: Path, home: Home, env: dict[str, str]) -> int:
    """Start the system, run the pipeline, and return the exit code of `rivet run`."""
    repository = _make_repository(examples / "hello", folder / "work" / "hello")
    pipeline = folder / "work" / "pipeline.lua"
    pipeline.write_text((examples / "seed.lua").read_text().replace(_SEED_URL, repository.as_uri()))
    home.prepare()
    tell(f"starting the whole system, in {home.path}")
    state = start_detached(home, 0, 0, None, folder=folder / "work", env=env, with_us=True)
    click.echo(f"The API is at {state.url}, Flower at {state.flower_url}.")
    click.echo(f"$ rivet run {pipeline}")
    sys.stdout.flush()
    done = subprocess.run((*_RIVET, "run", str(pipeline)), env=env, timeout=RUN_TIMEOUT_S, check=False)
    click.echo("\n$ rivet runs list")
    sys.stdout.flush()
    subprocess.run((*_RIVET, "runs", "list"), env=env, timeout=60, check=False)
    return done.returncode


def _make_repository(project: Path, target: Path) -> Path:
    """A git repository with the example project as its one commit, on the branch `main`."""
    shutil.copytree(project, target, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | nobody
    author = ("-c", "user.name=Rivet", "-c", "user.email=demo@rivet.invalid")
    for command in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("add", "--all"),
        (*author, "commit", "--quiet", "--message", "A small project with tests"),
    ):
        done = subprocess.run(
            ("git", "-C", str(target), *command),
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"git {command[0]} failed: {done.stderr.strip()}", USAGE)
    return target


def _environment(folder: Path, home: Home) -> dict[str, str]:
    """Ours without any setting of Rivet, and with the tools of Rivet's own environment first on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RIVET_")}
    tools = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return kept | {
        "RIVET_HOME": str(home.path),
        "RIVET_CONFIG": os.devnull,
        "RIVET_ALLOW_PATHS": str(folder / "work"),
        "PATH": tools,
    }


def _say_what_next(code: int) -> None:
    rivet_command = Path(sys.executable).with_name("rivet")
    click.echo(f"""
{"That was a green run." if code == 0 else "The run did not pass; what it said is above."} Where to look next:
  {rivet_command} up               the system for yourself; it keeps what it does
  {rivet_command} run FILE         your own pipeline; examples/seed.lua is one to begin with
  {rivet_command} --help           everything else
  README.md, docs/                 what it is, how to set it up, what the words mean""")
