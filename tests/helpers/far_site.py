"""A web server on this machine that does what a test tells it to, and where it hides its faults."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """`files` by path. `faults` are taken one a request: a status, `drop`, `cut`, `stall`, `other range`."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    length: bool = True
    version: int = 1
    faults: list[int | str] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    connections: int = 0

    def put(self, data: bytes, name: str = "/a.lvz") -> str:
        self.files[name] = data
        return self.address + name

    @property
    def asked(self) -> list[str | None]:
        """The ranges asked for."""
        return [wanted for _, wanted in self.requests]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body waits 40 ms for the headers to be acknowledged

        def setup(self) -> None:
            site.connections += 1
            super().setup()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path, wanted = self.path, self.headers.get("Range")
            site.requests.append((path, wanted))
            site.seen.append(dict(self.headers.items()))
            fault = site.faults.pop(0) if site.faults else None
            if path in site.redirects:
                self.answer(302, b"", {"Location": site.redirects[path]})
            elif isinstance(fault, int):
                self.answer(fault, b"later", site.headers)
            elif path not in site.files:
                self.answer(404, b"nothing here", {})
            elif fault == "stall":
                time.sleep(1)
                self.close_connection = True
            elif fault == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.serve(site.files[path], wanted, fault)

        def serve(self, data: bytes, wanted: str | None, fault: str | None) -> None:
            headers = {"ETag": f'"v{site.version}"', **site.headers}
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "")
            if match is None or not site.ranges:
                self.answer(200, data, headers, fault)
                return
            start, end = int(match[1]), min(int(match[2]) + 1, len(data))
            if start >= len(data):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            if fault == "other range":
                start, end = start + 1, end + 1
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            self.answer(206, data[start:end], headers, fault)

        def answer(self, status: int, body: bytes, headers: dict[str, str], fault: str | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if site.length:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.close_connection = True
            self.end_headers()
            if fault == "cut":
                body = body[: len(body) // 2]
                self.close_connection = True
            site.sent += len(body)
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    return Handler


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(site)) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that goes is no news
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        site.address = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
