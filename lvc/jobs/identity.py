"""Whether an output was already made: of the same bytes, with the same settings and the same model, and is whole."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from lvc.errors import LvcError
from lvc.lvz import LvzReader, Origin

# Settings of `encode_file` that do not change what comes out.
NEUTRAL = {"threads", "device", "verify", "force", "model"}


def settings_of(given: dict[str, Any]) -> dict[str, str]:
    """Every setting that changes the output, by name, as the text that `oRIG` keeps."""
    return {name: _text(value) for name, value in sorted(given.items()) if name not in NEUTRAL and value is not None}


def _text(value: Any) -> str:
    """50 and 50.0 are one setting."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def origin_of(path: str, settings: dict[str, Any]) -> Origin:
    """Reads the whole source."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return Origin(file.tell(), digest, settings_of(settings))


def why_stale(target: str, source: str, settings: dict[str, Any], model_sha256: bytes) -> str | None:
    """Why the `.lvz` `target` is not what encoding `source` would give; None if it is. Cheap checks come first."""
    try:
        with open(target, "rb") as file:
            reader = LvzReader(file)
            origin = reader.origin
            if origin is None:
                return "does not say what it was made from"
            if reader.header.model_sha256 != model_sha256:
                return "was made with another model"
            if origin.settings != settings_of(settings):
                return "was made with other settings"
            if origin.source_bytes != os.path.getsize(source):
                return "was made from another source"
            reader.verify()
    except LvcError as error:
        return f"is damaged ({error})"
    return None if origin == origin_of(source, settings) else "was made from another source"
