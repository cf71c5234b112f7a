"""The model that a `.lvz` was made with: inside the file, or here."""

from __future__ import annotations

from ..entropy.model_file import model_file
from ..lvz import Header, ModelChunk
from .load import Model, model_of_bytes, opened
from .store import described, find


def model_of_file(header: Header, chunk: ModelChunk | None) -> Model:
    """Of a file of lvc's own codec; `chunk`: its `MODL`. Raises `UnsupportedError` where the model, or what a delta
    builds on, is not here, `CorruptError`, `LimitError`."""
    if chunk is None:
        path, data = find(header.model_id, header.model_sha256)
        return opened(described(path, header.model_sha256, data), data)
    return model_of_bytes(bytes_of_file(header, chunk), header.model_id)


def bytes_of_file(header: Header, chunk: ModelChunk) -> bytes:
    """The model's file that a video's file carries. Raises as `model_of_file`."""
    base = find(header.model_id, chunk.base_sha256)[1] if chunk.base_sha256 else None
    return model_file(chunk, header.model_sha256, base)
