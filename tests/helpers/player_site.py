"""A small static server that knows ranges, and pages in a browser, for the player's tests."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lvc.files import decode_frames

KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; media-src 'self' blob:; "
    "img-src 'self' data:; style-src 'self'; connect-src 'self'"
)
"""What the player's documentation says that suffices."""
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Site:
    """`files`: what is served, by path; bytes, files, or functions that make bytes."""

    def __init__(self, files: dict[str, bytes | Path | Callable[[], bytes]], folders: dict[str, Path]) -> None:
        self.files, self.folders = files, folders
        self.headers: dict[str, str] = {"Content-Security-Policy": POLICY}
        self.requests: list[tuple[str, str | None]] = []
        self.address = ""

    def content(self, path: str) -> bytes | None:
        found = self.files.get(path)
        if found is None:
            for prefix, folder in self.folders.items():
                name = path.removeprefix(prefix)
                if path.startswith(prefix) and "/" not in name and (folder / name).is_file():
                    found = folder / name
        if callable(found):
            return found()
        return found.read_bytes() if isinstance(found, Path) else found


@contextlib.contextmanager
def served(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body waits 40 ms for the headers to be acknowledged

        def do_GET(self) -> None:
            path, asked = self.path.split("?")[0], self.headers.get("Range")
            site.requests.append((path, asked))
            data = site.content(path)
            if data is None:
                self.answer(404, b"", {})
                return
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or "")
            own = {
                "ETag": f'"{len(data)}"',
                "Content-Type": KINDS.get(Path(path).suffix or ".html", "application/octet-stream"),
            }
            if part is None:
                self.answer(200, data, own)
                return
            first, last = int(part[1]), min(int(part[2]), len(data) - 1)
            if first >= len(data):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            own["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self.answer(206, data[first : last + 1], own)

        def answer(self, code: int, data: bytes, own: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {**site.headers, **own, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the page was closed
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # pages give requests up
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def until(page: Any, condition: str, seconds: float = 90) -> None:
    """Waits for an expression to become true. (`wait_for_function` evaluates in the page, which its policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} is not true after {seconds} s")
        time.sleep(0.02)


def digests(path: Path) -> list[str]:
    """SHA-256 of each frame's planes as lvc decodes it."""
    return [hashlib.sha256(f.y.tobytes() + f.u.tobytes() + f.v.tobytes()).hexdigest() for f in decode_frames(str(path))]


class Tab:
    """A page; leaving it fails the test if a script failed, or the page's policy forbade something."""

    def __init__(self, browser: Any, address: str, expected: tuple[str, ...] = (), **options: Any) -> None:
        self.complaints: list[str] = []
        self.expected = expected
        self.page = browser.new_page(**options)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.goto(address)

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *error: object) -> None:
        self.page.close()
        if error[0] is None:
            assert [c for c in self.complaints if not any(part in c for part in self.expected)] == []
