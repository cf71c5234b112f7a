"""The model of a `.lvz`: from the file itself, or an installed one."""

from __future__ import annotations

from ..entropy.model_file import model_file
from ..lvz import Header, ModelChunk
from .load import Model, model_of_bytes, opened
from .store import find


def model_of_file(header: Header, chunk: ModelChunk | None) -> Model:
    """Load the model of a file of lvc's own codec. `chunk`: its `MODL`. Raises `UnsupportedError` if the model, or the
    base of a delta, is not installed, `CorruptError`, `LimitError`."""
    if chunk is None:
        return opened(*find(header.model_id, header.model_sha256))
    return model_of_bytes(bytes_of_file(header, chunk), header.model_id)


def bytes_of_file(header: Header, chunk: ModelChunk) -> bytes:
    """Return the bytes of the model in a video's file. Raises as `model_of_file`."""
    base = find(header.model_id, chunk.base_sha256)[1] if chunk.base_sha256 else None
    return model_file(chunk, header.model_sha256, base)
