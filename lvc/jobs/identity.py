"""Decides whether an output is up to date: complete, and made from the same bytes with the same settings and model."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

from lvc.errors import LvcError
from lvc.lvz import LvzReader, Origin
from lvc.options import EncodeOptions
from lvc.output import opened_input
from lvc.place import Place

# Options that do not change the output. The model is recorded in the file's head.
NEUTRAL = {"threads", "device", "verify", "model", "strict", "max_memory"}


def settings_of(options: EncodeOptions) -> dict[str, str]:
    """Return every option that changes the output, by name, as text for `oRIG`."""
    given = {field.name: getattr(options, field.name) for field in fields(options) if field.name not in NEUTRAL}
    return {name: _text(value) for name, value in sorted(given.items()) if value is not None}


def _text(value: Any) -> str:
    """Format a value; 50 and 50.0 are the same setting."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def origin_of(path: str, options: EncodeOptions) -> Origin:
    """Return the `oRIG` content for a source and its options. Reads the whole source."""
    digest, size = hashlib.sha256(), 0
    with opened_input(path, whole=True) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return Origin(size, digest.digest(), settings_of(options))


def why_stale(target: str, source: str, options: EncodeOptions, model_sha256: bytes) -> str | None:
    """Return why the `.lvz` `target` is not what encoding `source` would give, or None if it is. Cheap checks first."""
    try:
        with opened_input(target, whole=True) as file:
            reader = LvzReader(file)
            origin = reader.origin
            if origin is None:
                return "does not record its source"
            made_with, inside = reader.header.model_sha256, reader.model_chunk
            if options.adapt and inside is not None:
                made_with = inside.base_sha256
            if made_with != model_sha256:
                return "was made with another model"
            if origin.settings != settings_of(options):
                return "was made with other settings"
            if origin.source_bytes != Place(source).size():
                return "was made from another source"
            reader.verify()
    except LvcError as error:
        return f"is damaged ({error})"
    return None if origin == origin_of(source, options) else "was made from another source"
