"""`http` against real servers on this machine: both grants, redirects, bounds, TLS, and secrets."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rivet.domain.mask import Masker
from rivet.domain.secret import Opaque, Reference
from rivet.modules.contract import CallError
from rivet.modules.web import Answer, Ask
from rivet.runner.reach import ReachPolicy
from rivet.runner.stage_web import StageWeb

VALUE = b"ghp_Zx81kQw04LmB7sTy5RvC2nXd9PfH3jUa"
SECRET = Opaque((Reference("TOKEN"),))
BEARER = Opaque((b"Bearer ", Reference("TOKEN")))


class Server(BaseHTTPRequestHandler):
    """Echoes, redirects, and answers as badly as the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        heard = {
            "method": self.command, "path": self.path, "body": body.decode("latin-1"),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }  # fmt: skip
        self.server.heard.append(heard)
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            _, _, status, where = path.split("/", 3)
            self.reply(b"", status=int(status), Location=where.replace("!", "/"))
        else:
            getattr(self, path.strip("/").replace("-", "_"), self.echo)(heard)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def echo(self, heard: dict[str, Any]) -> None:
        self.reply(json.dumps(heard).encode(), Content_Type="application/json")

    def loop(self, _: object) -> None:
        self.reply(b"", status=302, Location="/loop")

    def packed(self, _: object) -> None:
        whole = gzip.compress(b"hello ") + gzip.compress(b"world")
        self.reply(whole, Content_Encoding="gzip")

    def bomb(self, _: object) -> None:
        self.reply(gzip.compress(b"\0" * (64 << 20)), Content_Encoding="gzip")

    def not_packed(self, _: object) -> None:
        self.reply(b"plain", Content_Encoding="gzip")

    def torn(self, _: object) -> None:
        self.reply(gzip.compress(b"x" * 1000)[:-12], Content_Encoding="gzip")

    def bytes_(self, _: object) -> None:
        self.reply(bytes(range(256)))

    def secret(self, _: object) -> None:
        self.reply(b'{"said":"' + VALUE + b'"}', Content_Type="application/json")

    def large_head(self, _: object) -> None:
        self.reply(b"", **{f"X-{number}": "y" * 60_000 for number in range(3)})

    def long_line(self, _: object) -> None:
        self.reply(b"", X="y" * 70_000)

    def endless(self, _: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.drip(b"x" * 65536, pause=0.0)

    def slow(self, _: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.drip(b"x", pause=0.05)

    def continues(self, _: object) -> None:
        self.drip(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01)

    def silent(self, _: object) -> None:
        self.drip(b"", pause=0.05)

    def short(self, _: object) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.close_connection = True

    def nothing(self, _: object) -> None:
        self.close_connection = True

    def garbage(self, _: object) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.close_connection = True

    def drip(self, what: bytes, pause: float) -> None:
        until = time.monotonic() + 10
        try:
            while time.monotonic() < until and not self.server.is_over.is_set():
                self.wfile.write(what)
                time.sleep(pause)
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Served(ThreadingHTTPServer):
    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Server)
        self.heard: list[dict[str, Any]] = []
        self.is_over = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_port}{path}"

    def handle_error(self, *_: object) -> None:
        pass

    def end(self) -> None:
        self.is_over.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def server() -> Iterator[Served]:
    made = Served()
    yield made
    made.end()


@pytest.fixture
def other() -> Iterator[Served]:
    made = Served()
    yield made
    made.end()


class Stop(Exception):
    """What a stage's end is here."""


@dataclass
class Stage:
    """A stage whose grants the test may narrow, and which it may stop."""

    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    reach: ReachPolicy = field(default_factory=lambda: ReachPolicy(allow_hosts=("127.0.0.0/8", "::1")))
    said: list[str] = field(default_factory=list)
    stop_at: float = float("inf")
    masker: Masker = field(default_factory=lambda: Masker([VALUE]))

    def ask(self, url: str, method: str = "GET", **more: Any) -> Answer:
        fields = {
            "headers": {}, "body": None, "json": None, "timeout_s": 5.0, "max_bytes": 1 << 20, **more,
        }  # fmt: skip
        web = StageWeb(
            self.hosts, self.reach, self.joined, self.masker.mask,
            lambda level, text: self.said.append(text), self.go_on,
        )  # fmt: skip
        return web.ask(Ask("http.request", method, url, **fields))

    def joined(self, value: Opaque) -> bytes:
        return b"".join(VALUE if isinstance(part, Reference) else part for part in value.parts)

    def go_on(self) -> None:
        if time.monotonic() > self.stop_at:
            raise Stop


def refused(stage: Stage, url: str, **more: Any) -> str:
    with pytest.raises(CallError) as raised:
        stage.ask(url, **more)
    assert VALUE.decode() not in str(raised.value)
    return str(raised.value)


def test_a_request_goes_out_as_it_was_given(server):
    answer = Stage().ask(
        server.url("/a/ä b".replace(" ", "%20") + "?x=1#here"), "PUT", headers={"X-Mine": "ü"}, body=b"\x00\xff"
    )
    heard = server.heard[0]
    assert (heard["method"], heard["path"], heard["body"]) == ("PUT", "/a/%C3%A4%20b?x=1", "\x00\xff")
    assert heard["headers"]["x-mine"].encode("latin-1").decode() == "ü"
    assert heard["headers"]["host"] == f"127.0.0.1:{server.server_port}"
    assert answer.status == 200


def test_a_body_comes_back_byte_by_byte_and_a_head_without_one(server):
    assert Stage().ask(server.url("/bytes_")).body == bytes(range(256))
    assert Stage().ask(server.url("/bytes_"), "HEAD").body == b""


def test_no_proxy_of_the_environment_is_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert Stage().ask(server.url("/")).status == 200


def test_a_host_that_the_pipeline_did_not_ask_for_is_refused_with_the_field(server):
    stage = Stage(hosts=("127.0.0.1:1",))
    assert refused(stage, server.url("/")) == (
        f"http.request: url: 127.0.0.1:{server.server_port} is not granted to this pipeline: add "
        f'"127.0.0.1:{server.server_port}" to its permissions = {{ hosts = {{ … }} }}'
    )
    assert server.heard == []


def test_a_name_for_an_address_that_the_operator_does_not_allow_is_refused(server):
    """`localhost` is a name like any other: what counts is what it stands for, when it is connected to."""
    told = refused(Stage(reach=ReachPolicy()), server.url("/", host="localhost"))
    assert "is a loopback address, which this runner does not allow" in told
    assert "RIVET_ALLOW_HOSTS" in told
    assert server.heard == []


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(server, monkeypatch):
    asked = []
    real = socket.getaddrinfo

    def noted(host: Any, *more: Any, **named: Any) -> Any:
        asked.append(host)
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    answer = Stage().ask(server.url("/", host="localhost"))
    assert asked[0] == "localhost"
    assert "localhost" not in asked[1:]
    assert json.loads(answer.body)["headers"]["host"] == f"localhost:{server.server_port}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://127.0.0.1/", "expected http://… or https://…"), ("file:///etc/passwd", "expected http"),
        ("//127.0.0.1/", "expected http"), ("http://", "expected http"), ("http://a b/", "holds a space"),
        ("http://user:pass@127.0.0.1/", "user name or password"), ("http://127.0.0.1:99999/", "no URL"),
        ("http://127.0.0.1\\@example.org/", "a backslash"), ("http://2130706433/", "odd spelling"),
        ("http://127.0.0.1\r\nX: y/", "control character"),
    ],
)  # fmt: skip
def test_what_is_no_url_to_ask_is_refused(url, words):
    assert words in refused(Stage(hosts=("127.0.0.1", "2130706433")), url)


def test_secrets_are_put_into_headers_json_and_body(server):
    stage = Stage()
    stage.ask(server.url("/packed"), "POST", headers={"Authorization": BEARER}, json=({"a": [SECRET, None]},))
    stage.ask(server.url("/packed"), "POST", body=SECRET)
    first, second = server.heard
    assert first["headers"]["authorization"] == "Bearer " + VALUE.decode()
    assert first["headers"]["content-type"] == "application/json"
    assert json.loads(first["body"]) == {"a": [VALUE.decode(), None]}
    assert second["body"] == VALUE.decode()
    assert VALUE.decode() not in "".join(stage.said)


def test_an_answer_is_masked(server):
    assert Stage().ask(server.url("/secret")).body == b'{"said":"***"}'


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Host", "example.org", "is Rivet's to set"), ("content-length", "5", "is Rivet's to set"),
        ("Proxy-Authorization", "x", "is Rivet's to set"), ("X Y", "z", "no header can have"),
        ("X", "a\r\nY: b", "control character"), ("X", Opaque((b"\n\n", Reference("TOKEN"), b"\nX")), "control"),
    ],
)  # fmt: skip
def test_headers_that_no_request_should_have_are_refused(server, name, value, words):
    assert words in refused(Stage(), server.url("/"), headers={name: value})


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (302, "PUT", "PUT"), (307, "POST", "POST"),
     (303, "HEAD", "HEAD")],
)  # fmt: skip
def test_a_redirect_is_followed_as_its_status_says(server, status, method, becomes):
    Stage().ask(server.url(f"/to/{status}/!end"), method, body=b"data", headers={"X-Token": "t"})
    heard = server.heard[-1]
    assert (heard["path"], heard["method"]) == ("/end", becomes)
    assert heard["body"] == ("" if becomes in ("GET",) else "data")
    assert heard["headers"]["x-token"] == "t"


def test_to_another_host_no_credential_is_taken_along(server, other):
    there = other.url("/end").replace("/", "!")
    headers = {"Authorization": BEARER, "X-Token": "t", "Cookie": "c", "Accept": "text/plain"}
    answer = Stage().ask(server.url(f"/to/307/{there}"), "POST", body=b"data", headers=headers)
    heard = other.heard[0]
    assert not {"authorization", "x-token", "cookie"} & set(heard["headers"])
    assert (heard["headers"]["accept"], heard["body"]) == ("text/plain", "data")
    assert answer.url == other.url("/end")


def test_a_body_with_a_secret_is_taken_to_no_other_host(server, other):
    there = other.url("/end").replace("/", "!")
    told = refused(Stage(), server.url(f"/to/307/{there}"), method="POST", json=({"token": SECRET},))
    assert "the body holds a secret, which goes to no other host" in told
    assert other.heard == []


def test_a_redirect_is_checked_as_the_first_url_is(server, other):
    there = other.url("/end").replace("/", "!")
    stage = Stage(hosts=(f"127.0.0.1:{server.server_port}",))
    assert f'add "127.0.0.1:{other.server_port}"' in refused(stage, server.url(f"/to/302/{there}"))
    private = "http:!!10.0.0.1!"
    told = refused(Stage(hosts=("127.0.0.1", "10.0.0.1")), server.url(f"/to/302/{private}"))
    assert "10.0.0.1:80 is a private address" in told
    assert other.heard == []


def test_redirects_end_somewhere(server):
    assert "redirects more than 5 times" in refused(Stage(), server.url("/loop"))
    assert "no http or https URL" in refused(Stage(), server.url("/to/302/file:!!!etc!passwd"))


def test_a_packed_answer_is_unpacked(server):
    assert Stage().ask(server.url("/packed")).body == b"hello world"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/bomb", "more than 1048576 bytes: `max_bytes` can allow more"),
        ("/endless", "more than 1048576 bytes"),
        ("/not-packed", "says that it is packed with gzip, and is not"),
        ("/torn", "ends in the middle"),
        ("/short", "ends in the middle"),
        ("/large-head", "headers of the answer have more than 65536 bytes"),
        ("/long-line", "longer than 65536 bytes"),
        ("/nothing", "closed the connection without an answer"),
        ("/garbage", "is not HTTP"),
    ],
)
def test_answers_that_are_too_large_or_none_are_clear_errors(server, path, words):
    told = refused(Stage(), server.url(path))
    assert words in told
    assert told.startswith(f"http.request: {server.url(path)}: ")


@pytest.mark.parametrize("path", ["/slow", "/continues", "/silent"])
def test_an_answer_that_never_ends_is_given_up_after_the_timeout(server, path):
    begun = time.monotonic()
    told = refused(Stage(), server.url(path), timeout_s=0.2)
    assert "was given up after its timeout of 0.2 s" in told
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("path", ["/slow", "/silent"])
def test_a_stage_that_is_stopped_waits_for_no_answer(server, path):
    stage = Stage(stop_at=time.monotonic() + 0.2)
    begun = time.monotonic()
    with pytest.raises(Stop):
        stage.ask(server.url(path), timeout_s=60.0)
    assert time.monotonic() - begun < 1.5
    ends_soon(lambda: not any(each.name == "stage-http" for each in threading.enumerate()))


def test_who_does_not_answer_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        told = refused(Stage(), f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert "127.0.0.1 does not answer: Connection refused" in told


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, server):
    secured(server, *certificate(tmp_path, "localhost"))
    told = refused(Stage(), server.url("/", host="localhost", scheme="https"))
    assert "its certificate cannot be trusted: self-signed certificate" in told
    assert "SSL_CERT_FILE" in told
    assert server.heard == []


def test_a_certificate_must_be_for_the_name_that_was_asked_for(tmp_path, server, monkeypatch):
    path, key = certificate(tmp_path, "localhost")
    secured(server, path, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    stage = Stage()
    answer = stage.ask(server.url("/", host="localhost", scheme="https"), headers={"X": BEARER})
    assert answer.status == 200
    assert "IP address mismatch" in refused(stage, server.url("/", scheme="https"))
    plain = f"http:!!127.0.0.1:{server.server_port}!"
    told = refused(stage, server.url(f"/to/302/{plain}", host="localhost", scheme="https"))
    assert "redirects from https to http://127.0.0.1" in told


def secured(server: Served, path: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
    return folder / "cert.pem", folder / "key.pem"


def ends_soon(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 2
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)
