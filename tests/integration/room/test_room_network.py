"""A room's network: the proxy, what it lets through, and what it refuses and says."""

import contextlib
import ipaddress
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import rivet.sandbox
from rivet.runner.proxy import Proxy
from rivet.runner.reach import ProxyRules, ReachPolicy, Refused


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; keeps connections open as HTTP/1.1 servers do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        names = ",".join(sorted(name.lower() for name in self.headers))
        told = f"{self.command} {self.path} {self.headers['Host']} {names} {len(body)}".encode()
        self.server.asked.append(told.decode())
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    serving.asked = []
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


def rules(*hosts: str, **more) -> ProxyRules:
    more.setdefault("everything", True)
    return ProxyRules(ReachPolicy(allow_hosts=hosts), **more)


@pytest.fixture
def proxied() -> Iterator:
    """Speaks raw bytes to a proxy with these rules."""
    proxies = []

    def speak(wanted: ProxyRules, *blocks: bytes) -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        proxy = Proxy(listener, wanted)
        proxies.append(proxy)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
            for block in blocks:
                connection.sendall(block)
            got = b""
            while part := connection.recv(65536):
                got += part
        return got

    yield speak
    for proxy in proxies:
        proxy.close()


def test_a_room_reaches_what_the_operator_allows_through_the_proxy(opened, shell, server):
    room = opened(network=rules(f"localhost:{server.server_port}"))
    _, heard = shell(room, f"curl -sS --noproxy '' http://localhost:{server.server_port}/a?b=c")
    names = "accept,connection,host,user-agent"
    assert heard.text == f"GET /a?b=c localhost:{server.server_port} {names} 0"


def test_a_host_granted_with_its_port_is_reached_without_any_proxy(opened, shell, server):
    port = server.server_port
    room = opened(network=rules(f"127.0.0.1:{port}", hosts=(f"127.0.0.1:{port}",), everything=False))
    _, heard = shell(room, f"curl -sS http://127.0.0.1:{port}/direct")
    assert heard.text.startswith("GET /direct")
    code = (
        f"import socket; s = socket.create_connection(('127.0.0.1', {port})); "
        f"s.sendall(b'GET /x HTTP/1.0\\r\\n\\r\\n'); print(s.recv(15))"
    )
    _, heard = shell(room, f'/usr/bin/python3 -c "{code}"')
    assert heard.text == "b'HTTP/1.1 200 OK'\n"


def test_variables_name_the_proxy_in_both_cases_only_with_network(opened, shell, room):
    assert "proxy" not in shell(room, "env")[1].text.lower()
    _, heard = shell(opened(network=rules()), "env | grep -i proxy | sort")
    names = {line.partition("=")[0] for line in heard.text.splitlines()}
    assert names == {f"{n}_PROXY" for n in ("HTTP", "HTTPS", "ALL", "NO")} | {
        f"{n}_proxy" for n in ("http", "https", "all", "no")
    }
    assert "NO_PROXY=localhost,127.0.0.1,::1" in heard.text


def test_a_refusal_says_why_and_is_remembered_for_the_commands_error(opened, shell, server):
    room = opened(network=rules())
    ended, heard = shell(room, f"curl -sS --noproxy '' http://127.0.0.1:{server.server_port}/; exit 7")
    assert "is a loopback address, which this runner does not allow" in heard.text
    assert "RIVET_ALLOW_HOSTS" in room.hint(["anything"])
    assert not server.asked
    assert ended.exit_code == 7


def test_a_room_without_network_hints_at_the_permission(room, shell):
    _, heard = shell(room, "curl -sS http://example.org/")
    assert "permissions = { network = true }" in room.hint(heard.errors.splitlines())
    assert room.hint(["assertion failed"]) == ""


def test_a_tunnel_carries_bytes_both_ways(proxied, server):
    target = f"127.0.0.1:{server.server_port}"
    got = proxied(
        rules(target),
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode(),
        b"GET /in/tunnel HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert got.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
    assert b"GET /in/tunnel x" in got


def test_only_one_request_of_a_connection_goes_by(proxied, server):
    target = f"127.0.0.1:{server.server_port}"
    one = f"GET http://{target}/first HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()
    got = proxied(rules(target), one + one.replace(b"first", b"second"))
    assert b"Connection: close" in got
    assert len(server.asked) == 1


def test_the_host_that_was_checked_is_the_host_that_is_asked(proxied, server):
    target = f"127.0.0.1:{server.server_port}"
    proxied(rules(target), f"GET http://{target}/ HTTP/1.1\r\nHost: other.example\r\n\r\n".encode())
    assert f" {target} " in server.asked[0]


@pytest.mark.parametrize(
    ("head", "body", "size"),
    [
        (b"Content-Length: 5", b"12345GET http://x/ HTTP/1.1\r\n\r\n", 5),
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nmore", 5),
        (b"Expect: 100-continue\r\nContent-Length: 2", b"ab", 2),
    ],
)
def test_a_body_is_carried_to_its_end_and_no_further(proxied, server, head, body, size):
    target = f"127.0.0.1:{server.server_port}"
    got = proxied(
        rules(target), f"POST http://{target}/ HTTP/1.1\r\n".encode() + head + b"\r\n\r\n", body
    )
    assert b"200 OK" in got
    assert server.asked[0].endswith(f" {size}")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET https://example.org/ HTTP/1.1\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"CONNECT example.org HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET http://127.0.0.1/\nX:\ty HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_proxy_request_is_told_so(proxied, request_):
    assert proxied(rules(), request_).startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Length: -1",
    ],
)
def test_an_unclear_length_is_refused(proxied, server, header):
    target = f"127.0.0.1:{server.server_port}"
    head = f"POST http://{target}/ HTTP/1.1\r\n".encode() + header + b"\r\n\r\nabc"
    assert proxied(rules(target), head).startswith(b"HTTP/1.1 400")


def test_with_one_url_nothing_else_of_its_host_is_reached(proxied, server):
    target = f"127.0.0.1:{server.server_port}"
    wanted = rules(target, url=f"http://{target}/a.git", everything=False)
    for path, answer in (("/a.git/info/refs?x", b"200"), ("/b.git", b"403"), ("/a.git/../b", b"403"),
                         ("/a.git/%2e%2e/b", b"403"), ("/a.gitx", b"403")):  # fmt: skip
        got = proxied(wanted, f"GET http://{target}{path} HTTP/1.1\r\n\r\n".encode())
        assert got.split(b" ")[1] == answer, path
    assert proxied(wanted, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 403")


def test_an_allowed_address_where_nobody_listens_is_a_502(proxied):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    got = proxied(rules(f"127.0.0.1:{port}"), f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 502")
    assert b"does not answer" in got


SPELLINGS = [
    "127.0.0.1", "127.0.0.1.", "localhost", "LOCALHOST.", "127.1", "127.0.1", "2130706433", "017700000001",
    "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "0x7f.1", "127.0.0.01", "0", "0.0.0.0", "[::1]", "[::]",
    "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::1%25lo]", "[::1%lo]",
    "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[fe80::1%25eth0]", "10.0.0.1", "172.16.0.1", "192.168.0.1",
    "169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fd00:ec2::254]",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "example.org@127.0.0.1", "user:pw@127.0.0.1",
    "127.0.0.1#@example.org", "127。0。0。1", "①②⑦.0.0.1", "%31%32%37.0.0.1", "127.0.0.1%00.example.org",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_address_that_is_not_public_gets_by(proxied, server, host):
    port = server.server_port
    raw = host.encode("utf-8")
    plain = host.rpartition("@")[2]
    asked = [b"GET http://%s:%d/ HTTP/1.1\r\n\r\n" % (raw, port), b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (raw, port)]
    asked.append(b"GET http://%s/ HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (raw, plain.encode(), port))
    for each in asked:
        assert proxied(rules(), each).split(b" ")[1] in (b"400", b"403"), each
    assert not server.asked


class Names:
    """A name server of the test's own: each name has answers that come one after the other."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked = []

    def __call__(self, host: str, port: int) -> list:
        self.asked.append(host)
        given = self.answers[host]
        answer = given.pop(0) if len(given) > 1 else given[0]
        return [ipaddress.ip_address(address) for address in answer.split()]


def test_a_name_that_is_bound_to_another_address_meanwhile_is_checked_at_each_connection(server):
    """What is connected to is the address that was looked at, never the name again."""
    names = Names(evil_example=["1.1.1.1", "127.0.0.1"])
    wanted = ProxyRules(ReachPolicy(look_up=names), everything=True)
    assert [str(address) for address in wanted.addresses("evil.example", 80)] == ["1.1.1.1"]
    assert names.asked == ["evil.example"]
    with pytest.raises(Refused, match=r"evil\.example:80 \(127\.0\.0\.1\) is a loopback address"):
        wanted.addresses("evil.example", 80)


def test_the_proxy_looks_a_name_up_once_a_connection(proxied, server):
    names = Names(page_example=["127.0.0.1", "10.0.0.1"])
    wanted = ProxyRules(
        ReachPolicy(allow_hosts=(f"127.0.0.1:{server.server_port}",), look_up=names), everything=True
    )
    asked = f"GET http://page.example:{server.server_port}/ HTTP/1.1\r\n\r\n".encode()
    assert proxied(wanted, asked).startswith(b"HTTP/1.1 200")
    assert names.asked == ["page.example"]
    assert proxied(wanted, asked).startswith(b"HTTP/1.1 403")


def test_of_a_name_with_addresses_of_both_kinds_the_public_ones_alone_are_used():
    names = Names(both_example=["10.0.0.1 1.1.1.1 ::ffff:127.0.0.1"])
    wanted = ProxyRules(ReachPolicy(look_up=names), everything=True)
    assert [str(address) for address in wanted.addresses("both.example", 443)] == ["1.1.1.1"]


def test_an_alias_of_an_allowed_name_is_not_allowed_by_that_name():
    """Lists of names mean what is asked for: a name of a stranger's may lead to an internal one."""
    names = Names(alias_example=["10.0.0.1"], git_corp_example=["10.0.0.1"])
    wanted = ProxyRules(ReachPolicy(allow_hosts=("git.corp.example",), look_up=names), everything=True)
    assert wanted.addresses("git.corp.example.", 443)
    with pytest.raises(Refused, match="a private address"):
        wanted.addresses("alias.example", 443)


def test_what_a_stage_sends_and_receives_is_counted_and_ends_at_its_limit(server):
    target = f"127.0.0.1:{server.server_port}"
    with Proxy(socket.create_server(("127.0.0.1", 0)), rules(target), most_bytes=100_000) as proxy:
        for _ in range(3):
            got = spoken_to(proxy, f"POST http://{target}/ HTTP/1.1\r\nContent-Length: 50000\r\n\r\n".encode() + b"x" * 50_000)
        assert proxy.connections == 3
        assert proxy.over is not None
        assert proxy.over.reason == "limit_network"
        assert b"200 OK" not in got
        got = spoken_to(proxy, f"GET http://{target}/ HTTP/1.1\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 403")
        assert b"limit of 97.7 KiB for bytes that its processes send and receive" in got


def spoken_to(proxy: Proxy, said: bytes) -> bytes:
    got = b""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        try:
            connection.sendall(said)
            while part := connection.recv(65536):
                got += part
        except ConnectionError:
            pass
    return got


def test_no_more_connections_than_128_are_open_at_once(server):
    with Proxy(socket.create_server(("127.0.0.1", 0)), rules()) as proxy, contextlib.ExitStack() as stack:
        for _ in range(128):
            stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=10))
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as one_more:
            assert one_more.recv(1000).startswith(b"HTTP/1.1 503")


NO_WAY_OUT = """
import socket
def told(what, act):
    try:
        act()
        print("out by", what)
    except OSError as error:
        print(what, "refused")
def udp(family, host):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.sendto(b"x", (host, 53))
for host in ("1.1.1.1", "10.0.0.1", "255.255.255.255"):
    told("udp to " + host, lambda: udp(socket.AF_INET, host))
told("udp6", lambda: udp(socket.AF_INET6, "2606:4700:4700::1111"))
told("tcp", lambda: socket.create_connection(("1.1.1.1", 443), 2))
told("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
told("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).sendto(b"x" * 8, ("1.1.1.1", 0)))
told("packet", lambda: socket.socket(17, socket.SOCK_RAW))
told("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
told("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(("1.1.1.1", 80)))
told("names", lambda: socket.getaddrinfo("example.org", 80))
"""


def test_with_all_that_can_be_granted_there_is_no_way_out_but_the_proxy(opened, shell):
    _, heard = shell(opened(network=rules()), f"/usr/bin/python3 -c '{NO_WAY_OUT}'")
    told = heard.text.splitlines()
    assert len(told) == 11, heard.errors
    assert all(line.endswith(" refused") for line in told), told


def test_closing_the_proxy_ends_its_connections(server):
    target = f"127.0.0.1:{server.server_port}"
    proxy = Proxy(socket.create_server(("127.0.0.1", 0)), rules(target))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        proxy.close()
        assert connection.recv(100) == b""
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("127.0.0.1", proxy.port), timeout=2)


def test_the_proxys_own_port_is_never_that_of_a_door():
    """In a network of three ports, two of them granted, only the third is left for the proxy."""
    agent = Path(rivet.sandbox.__file__).with_name("agent.py")
    script = f"""
import runpy
made = runpy.run_path({str(agent)!r})["_listeners"](["127.0.0.1:0", "127.0.0.1:40001", "127.0.0.1:40003"])
print(*(listener.getsockname()[1] for listener in made))
"""
    few = "echo 40001 40003 > /proc/sys/net/ipv4/ip_local_port_range"
    for _ in range(5):
        ports = subprocess.run(
            ["unshare", "--map-root-user", "--net", "sh", "-c", f'{few} && exec "$@"', "sh", sys.executable, "-c", script],
            capture_output=True, text=True, check=True, timeout=30,
        )
        assert ports.stdout.split() == ["40002", "40001", "40003"], ports.stderr
