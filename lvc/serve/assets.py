"""Files of ours, each under an address that changes with what they hold, so that browsers keep them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".css": "text/css", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


class Assets:
    """The files of a folder as they were when the server started, at `address`/NAME: `prefix`, then a part of the
    SHA-256 of all of them. Modules find each other there by relative addresses."""

    def __init__(self, prefix: str, folder: Path) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        total = hashlib.sha256()
        for name, data in self._files.items():
            total.update(f"{name} {len(data)}\n".encode() + data)
        self._version = total.hexdigest()[:12]
        self._packed: dict[str, bytes] = {}
        self.address = f"{prefix}{self._version}"

    def answer(self, request: Request) -> Response:
        """For `{version}/{name}`. What asks by an older version gets what is there now, but may not keep it."""
        name = request.path_params["name"]
        data = self._files.get(name)
        if data is None:
            raise HTTPException(404)
        current = request.path_params["version"] == self._version
        headers = {"cache-control": FOR_EVER if current else "no-cache", "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            if name not in self._packed:
                self._packed[name] = gzip.compress(data, 9, mtime=0)
            data, headers["content-encoding"] = self._packed[name], "gzip"
        kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(data, media_type=kind, headers=headers)
