"""Static files under addresses that contain a hash of their content, so that browsers can cache them for good."""

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
    """The files of a folder, as they were when the server started, at `address`/NAME. The address is `prefix` and a
    part of the SHA-256 of all files, so that modules import each other by relative addresses."""

    def __init__(self, prefix: str, folder: Path) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        total = hashlib.sha256()
        for name, data in self._files.items():
            total.update(f"{name} {len(data)}\n".encode() + data)
        self._version = total.hexdigest()[:12]
        self._packed: dict[str, bytes] = {}
        self.address = f"{prefix}{self._version}"

    def answer(self, request: Request) -> Response:
        """For `{version}/{name}`. A request for an older version gets the present file, without permission to cache
        it."""
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
