"""A listener on loopback that counts what stages do to the world outside: one request is one effect."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Effects:
    """Counts requests to `/RUN/STAGE/ATTEMPT`. Use as a context manager; `port` is one of loopback's."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._counts: Counter[tuple[str, str, int]] = Counter()
        counted = self._count

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                counted(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_port)

    def _count(self, path: str) -> None:
        run, stage, attempt = path.strip("/").split("/")
        with self._guard:
            self._counts[run, stage, int(attempt)] += 1

    def of(self, run: str) -> dict[tuple[str, int], int]:
        """How often each attempt, by stage and number, has had its effect."""
        with self._guard:
            return {(stage, number): n for (of, stage, number), n in self._counts.items() if of == run}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
