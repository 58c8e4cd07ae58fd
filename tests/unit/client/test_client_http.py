"""The HTTP client against a real server in this process."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from rivet.client import ApiProblem, ApiUnreachable, Client, Event


class Answers(BaseHTTPRequestHandler):
    """Plays the API: some paths, and a stream that breaks off once."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[tuple[str, int]]] = set()
    asked_from: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        if self.path == "/api/v1/runs/r1/events":
            self._stream()
        elif self.path == "/api/v1/problem":
            self._answer(422, {"code": "invalid_pipeline", "detail": "no stages", "findings": [{"line": 3}]})
        elif self.path == "/api/v1/proxy":
            self._answer(502, "<html>no</html>", "text/html")
        elif self.path == "/api/v1/closing":
            self.close_connection = True
            self._answer(200, {"here": True})
        else:
            self._answer(200, {"path": self.path, "as": self.headers.get("Authorization")})

    def do_POST(self) -> None:
        self._answer(201, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, status: int, body: object, kind: str = "application/json") -> None:
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self) -> None:
        since = self.headers.get("Last-Event-ID", "0")
        self.asked_from.append(since)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for position in range(int(since) + 1, 6):
            kind = "end" if position == 5 else "log"
            event = f'id: {position}\nevent: {kind}\ndata: {{"n": {position}}}'
            self.wfile.write(f": ping\n\n{event}\n\n".encode())
            if position == 2 and since == "0":
                self.wfile.write(b"id: 3\nevent: log\nda")
                return


@pytest.fixture
def api() -> Iterator[str]:
    Answers.connections.clear()
    Answers.asked_from.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_paths_are_those_of_the_api_and_the_token_goes_along(api: str) -> None:
    assert Client(api, "rvt_a\n").call("GET", "/runs") == {"path": "/api/v1/runs", "as": "Bearer rvt_a"}
    assert Client(api).call("GET", "/healthz") == {"path": "/healthz", "as": None}


def test_a_body_goes_as_json(api: str) -> None:
    assert Client(api).request("POST", "/runs", {"inputs": {"a": 1}}) == (201, {"inputs": {"a": 1}})


def test_a_connection_is_kept_and_opened_again_when_the_server_closed_it(api: str) -> None:
    client = Client(api)
    for _ in range(3):
        client.call("GET", "/runs")
    assert len(Answers.connections) == 1
    client.call("GET", "/closing")
    client.call("GET", "/runs")
    assert len(Answers.connections) == 2


def test_threads_have_a_connection_each(api: str) -> None:
    client = Client(api)
    client.call("GET", "/runs")
    other = threading.Thread(target=lambda: client.call("GET", "/runs"))
    other.start()
    other.join()
    assert len(Answers.connections) == 2


def test_a_problem_keeps_its_code_and_its_other_members(api: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        Client(api).call("GET", "/problem")
    assert (caught.value.status, caught.value.code) == (422, "invalid_pipeline")
    assert caught.value.extra == {"findings": [{"line": 3}]}


def test_an_answer_that_is_not_ours_is_a_problem_without_its_html(api: str) -> None:
    with pytest.raises(ApiProblem, match="502 with something that is not Rivet's"):
        Client(api).call("GET", "/proxy")


def test_nobody_there_is_said_in_words() -> None:
    with pytest.raises(ApiUnreachable, match="connection refused"):
        Client("http://127.0.0.1:1", timeout_s=2).call("GET", "/runs")


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ApiUnreachable, match="is not the address of an API"):
        Client(url)


def test_a_token_never_shows_in_the_client_s_text() -> None:
    assert "rvt_secret" not in repr(Client("http://127.0.0.1:1", "rvt_secret"))


def test_a_stream_that_breaks_off_goes_on_without_a_gap_or_a_repeat(api: str) -> None:
    told: list[str] = []
    events = list(Client(api).events("r1", told=told.append))
    assert [event.id for event in events] == ["1", "2", "3", "4", "5"]
    assert events[-1] == Event("5", "end", {"n": 5})
    assert Answers.asked_from == ["0", "2"]
    assert len(told) == 1


def test_following_gives_up_after_its_bound() -> None:
    with pytest.raises(ApiUnreachable, match="gave up after"):
        list(Client("http://127.0.0.1:1").events("r1", give_up_after_s=0.3))


def test_a_refused_stream_is_not_asked_for_again(api: str) -> None:
    with pytest.raises(ApiProblem, match="no stages"):
        list(Client(api).lines("/problem"))
