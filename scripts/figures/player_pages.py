"""What the figures of the player share: a server, a browser, a line of a given latency and rate, and processor time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Route, sync_playwright

from tests.helpers.browser import BROWSER_OPTIONS, browser_path

PLAYER = "document.querySelector('lvz-player')"
# Notes when pictures are drawn, and with which number once the element says that it is shown.
WATCH = """
window.seen = { numbers: new Set(), drawn: [], times: [] };
const whole = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (...given) {
  seen.drawn.push(performance.now());
  return whole.apply(this, given);
};
"""


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as running:
        started = running.chromium.launch(executable_path=browser_path(), args=BROWSER_OPTIONS)
        yield started
        started.close()


@contextlib.contextmanager
def serving(path: Path) -> Iterator[str]:
    """The address of `lvc serve` for a file or a folder, without a slash at its end."""
    command = [sys.executable, "-m", "lvc", "serve", "--json", "--port", "0", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["address"].rstrip("/")
        finally:
            server.terminate()


def as_if_cores(count: int) -> str:
    """A script after which a page takes the machine for one of so many cores."""
    return f"Object.defineProperty(navigator, 'hardwareConcurrency', {{ value: {count} }});"


def without_relaxed(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("runs(RELAXED)", "false"))


def until(page: Any, condition: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def load() -> str:
    return "load " + ", ".join(f"{value:.1f}" for value in os.getloadavg())


def processor_seconds() -> float:
    """What all processes below this one have used so far. (Linux)"""
    ticks = 0
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)], used[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    for process in used:
        at = process
        while at in parents and at != os.getpid():
            at = parents[at]
        if at == os.getpid() and process != at:
            ticks += used[process]
    return ticks / os.sysconf("SC_CLK_TCK")


class Line:
    """A proxy in front of a server: every byte takes half of `latency` seconds either way, a connection a whole one to
    be made, and all answers together have `rate` bits a second. `sent` counts what came down, by path."""

    def __init__(self, address: str, latency: float, rate: float) -> None:
        self.host, self.port = urlsplit(address).hostname, urlsplit(address).port
        self.latency, self.rate = latency, rate / 8
        self.sent: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.free = 0.0  # when the line has sent all that it has taken

    def __enter__(self) -> Line:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        starting = asyncio.start_server(self.connection, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(starting, self.loop).result()
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = [""]
        upstream_reader, upstream_writer = await asyncio.open_connection(self.host, self.port)

        def up(data: bytes) -> float:
            if data.startswith(b"GET "):
                path[0] = data.split(b" ", 2)[1].decode().partition("?")[0]
                self.asked[path[0]] += 1
            return time.monotonic() + self.latency / 2

        def down(data: bytes) -> float:
            self.sent[path[0]] += len(data)
            self.free = max(self.free, time.monotonic()) + len(data) / self.rate
            return self.free + self.latency / 2

        await asyncio.gather(
            self.pump(reader, upstream_writer, up, time.monotonic() + self.latency),
            self.pump(upstream_reader, writer, down, 0.0),
        )

    async def pump(self, reader: Any, writer: Any, due: Any, not_before: float) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            while True:
                at, data = await waiting.get()
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()

        delivering = asyncio.ensure_future(deliver())
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                await waiting.put((max(due(data), not_before), data))
        with contextlib.suppress(OSError):
            await waiting.put((0.0, b""))
            await delivering
        writer.close()
