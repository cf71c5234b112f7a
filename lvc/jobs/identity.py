"""Whether an output was already made: of the same bytes, with the same settings and the same model, and is whole."""

from __future__ import annotations

import hashlib
from typing import Any

from lvc.errors import LvcError
from lvc.jobs import places
from lvc.lvz import LvzReader, Origin
from lvc.output import opened_input

# Settings of `encode_file` that do not change what comes out.
NEUTRAL = {"threads", "device", "verify", "force", "model", "strict", "max_memory"}


def settings_of(given: dict[str, Any]) -> dict[str, str]:
    """Every setting that changes the output, by name, as the text that `oRIG` keeps."""
    return {name: _text(value) for name, value in sorted(given.items()) if name not in NEUTRAL and value is not None}


def _text(value: Any) -> str:
    """50 and 50.0 are one setting."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def origin_of(path: str, settings: dict[str, Any]) -> Origin:
    """Reads the whole source."""
    digest, size = hashlib.sha256(), 0
    with opened_input(path, whole=True) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return Origin(size, digest.digest(), settings_of(settings))


def why_stale(target: str, source: str, settings: dict[str, Any], model_sha256: bytes) -> str | None:
    """Why the `.lvz` `target` is not what encoding `source` would give; None if it is. Cheap checks come first."""
    try:
        with opened_input(target, whole=True) as file:
            reader = LvzReader(file)
            origin = reader.origin
            if origin is None:
                return "does not say what it was made from"
            if reader.header.model_sha256 != model_sha256:
                return "was made with another model"
            if origin.settings != settings_of(settings):
                return "was made with other settings"
            if origin.source_bytes != places.size(source):
                return "was made from another source"
            reader.verify()
    except LvcError as error:
        return f"is damaged ({error})"
    return None if origin == origin_of(source, settings) else "was made from another source"
