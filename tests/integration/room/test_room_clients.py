"""Programs as people use them, in a room: package managers, git, and a test suite that needs a database.

Which servers the package managers speak to is for their own configuration to say: the tests read it, and grant what
they find there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import urllib3

from rivet.runner.reach import ProxyRules, ReachPolicy
from rivet.runner.tools import ToolRoots, find_tools

PACKAGES = {"pip": "six", "npm": "is-odd"}
"""Small ones, that pure Python and pure JavaScript are enough for."""
CLIENTS = [name for name in PACKAGES if shutil.which(name)]


@dataclass
class Client:
    """A package manager: what installs, whom it speaks to, and its configuration as variables of a stage."""

    argv: list[str]
    hosts: set[str]
    env: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def tools(tmp_path: Path) -> ToolRoots:
    """What a runner that was started here would show: its PATH, and what this Python has installed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return find_tools(path, rivet_home=tmp_path / "rivet")


def said(*argv: str) -> str:
    """What a program of this machine says; nothing where it has no answer."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    return done.stdout.strip() if done.returncode == 0 else ""


def host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}"


def asked(url: str, ca: str) -> str:
    with urllib3.PoolManager(ca_certs=ca or None, timeout=30.0) as pool:
        return pool.request("GET", url).data.decode()


def pip() -> Client:
    """pip's index is that of its configuration, else its own; its files are where the index says."""
    index = said("pip", "config", "get", "global.index-url")
    if not index:
        program = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
        index = said(_python_of_pip(), "-c", program)
    ca = said("pip", "config", "get", "global.cert") or os.environ.get("PIP_CERT", "")
    page = f"{index.rstrip('/')}/{PACKAGES['pip']}/"
    files = {host_of(urljoin(page, found)) for found in re.findall(r'href="([^"#]+)', asked(page, ca))}
    return Client(
        [_python_of_pip(), "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--retries", "0", "--no-deps",
         "--target", "/workspace/got", PACKAGES["pip"]],
        {host_of(index), *files},
        {"PIP_INDEX_URL": index, **({"PIP_CERT": ca} if ca else {})},
    )  # fmt: skip


def _python_of_pip() -> str:
    """The Python that `pip` itself runs in: what a version manager puts around it is not of interest here."""
    told = re.fullmatch(r"pip \S+ from (.+) \(python (\d+\.\d+)\)", said("pip", "--version"))
    assert told is not None
    return str(Path(told[1]).parents[3] / "bin" / f"python{told[2]}")


def npm() -> Client:
    registry = said("npm", "config", "get", "registry")
    ca = said("npm", "config", "get", "cafile")
    told = json.loads(asked(urljoin(registry, PACKAGES["npm"]), "" if ca == "null" else ca))
    files = {host_of(version["dist"]["tarball"]) for version in told["versions"].values()}
    return Client(
        ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries", "0", "--cache", "/tmp/npm", "--prefix", "/workspace/got",
         PACKAGES["npm"]],
        {host_of(registry), *files},
        {"npm_config_registry": registry, **({"npm_config_cafile": ca} if ca != "null" else {})},
    )  # fmt: skip


READ = {"pip": pip, "npm": npm}


def granted(*hosts: str, allowed: tuple[str, ...] = ()) -> ProxyRules:
    return ProxyRules(ReachPolicy(allow_hosts=allowed), hosts=hosts)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_package_is_installed_through_the_proxy_and_without_the_grant_it_says_what_to_grant(
    opened, tools, name
):
    client = READ[name]()
    room = opened(tools=tools, network=granted(*client.hosts, allowed=tuple(client.hosts)))
    heard = bytearray()
    ended = room.run(client.argv, env=client.env, on_output=lambda _, data: heard.extend(data), timeout_s=90)
    assert ended.exit_code == 0, heard.decode() + str(room.network_refusals())
    listed = bytearray()
    room.run(["ls", "/workspace/got", "/workspace/got/node_modules"], env={},
             on_output=lambda _, data: listed.extend(data))  # fmt: skip
    assert PACKAGES[name].encode() in listed

    without = opened(tools=tools)
    argv = [part.replace("/workspace/got", "/workspace/not") for part in client.argv]
    heard.clear()
    ended = without.run(argv, env=client.env, on_output=lambda _, data: heard.extend(data), timeout_s=90)
    assert ended.exit_code != 0
    assert "permissions = { network = true }" in without.hint(heard.decode().splitlines()), heard.decode()


def test_pip_is_among_the_clients_that_are_tried():
    assert "pip" in CLIENTS


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A repository over HTTP on loopback; its `host:port`."""
    folder = tmp_path / "served"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.txt").write_text("of the repository\n")
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@rivet.test"]
    for line in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(folder / "src"), *line], check=True, capture_output=True)
    subprocess.run(["git", "clone", "-q", "--bare", "src", "a.git"], cwd=folder, check=True, capture_output=True)
    subprocess.run(["git", "-C", str(folder / "a.git"), "update-server-info"], check=True)

    def handler(*given: object) -> Quiet:
        return Quiet(*given, directory=str(folder))

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_git_clones_over_http_as_a_process_of_the_stage(opened, shell, served):
    line = f"git clone -q http://{served}/a.git got && cat got/a.txt"
    ended, heard = shell(opened(network=granted(served, allowed=(served,))), line)
    assert (ended.exit_code, heard.text) == (0, "of the repository\n"), heard.errors
    refused = opened(network=granted("127.0.0.1:1", allowed=("127.0.0.1:1",)))
    ended, heard = shell(refused, f"NO_PROXY= no_proxy= git clone -q http://{served}/a.git other")
    assert ended.exit_code != 0
    assert f'add "{served}" to its permissions = {{ network = {{ … }} }}' in refused.hint(heard.errors.splitlines())


SUITE = """
import os, psycopg2

def test_rows_are_kept():
    with psycopg2.connect(os.environ["DSN"], connect_timeout=5) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE kept (n int)")
        cursor.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        cursor.execute("SELECT sum(n) FROM kept")
        assert cursor.fetchone() == (500500,)
"""


def test_a_test_suite_talks_to_a_database_that_was_granted_by_host_and_port(opened, shell, tools, postgres):
    address = f"127.0.0.1:{postgres.port}"
    argv = f"cat > test_rows.py <<'END'\n{SUITE}\nEND\npython -m pytest -q -p no:cacheprovider test_rows.py"
    env = {"DSN": f"postgresql://rivet@{address}/postgres"}
    room = opened(tools=tools, network=granted(address, allowed=(address,)))
    ended, heard = shell(room, argv, env=env)
    assert ended.exit_code == 0, heard.text + heard.errors
    assert "1 passed" in heard.text
    without = opened(tools=tools)
    ended, heard = shell(without, argv, env=env)
    assert ended.exit_code != 0
    assert "permissions = { network" in without.hint(heard.text.splitlines()), heard.text
