"""Firefox by Marionette, the protocol that geckodriver speaks to it: lengths and JSON over a socket."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = 600.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Firefox:
    """A headless Firefox with a profile of its own in `folder`."""

    def __init__(self, program: str, folder: Path) -> None:
        port = free_port()
        wanted = {"marionette.port": port, "webgl.force-enabled": True, "media.autoplay.default": 0}
        lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in wanted.items()]
        (folder / "user.js").write_text("".join(lines))
        command = [program, "--headless", "--no-remote", "--marionette", "--profile", str(folder)]
        log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"}
        )
        log.close()
        end = time.monotonic() + SECONDS
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:]) from error
                time.sleep(0.2)
        self.count = 0
        self._read()  # says who it is
        self("WebDriver:NewSession")
        self("WebDriver:SetTimeouts", script=int(SECONDS * 1000), pageLoad=int(SECONDS * 1000))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise RuntimeError("Firefox has hung up")
            data += piece
        return data

    def _read(self) -> Any:
        size = b""
        while not size.endswith(b":"):
            size += self._exactly(1)
        return json.loads(self._exactly(int(size[:-1])))

    def __call__(self, command: str, **given: Any) -> Any:
        self.count += 1
        message = json.dumps([0, self.count, command, given]).encode()
        self.socket.sendall(str(len(message)).encode() + b":" + message)
        _, _, error, result = self._read()
        if error is not None:
            raise RuntimeError(f"{command}: {error['message']}")
        return result

    def goto(self, address: str) -> None:
        self("WebDriver:Navigate", url=address)

    def wait(self, promise: str) -> Any:
        """The value of an expression that is a promise."""
        script = f"const done = arguments[arguments.length - 1]; ({promise}).then((it) => done(JSON.stringify(it)));"
        return json.loads(self("WebDriver:ExecuteAsyncScript", script=script, args=[], sandbox=None)["value"])

    def __enter__(self) -> Firefox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(60)
