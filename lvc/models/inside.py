"""The model of a `.lvz`: from the file itself, or an installed one."""

from __future__ import annotations

from ..entropy.model_file import model_file
from ..lvz import Header, ModelChunk
from .load import Model, load_model, model_of_bytes
from .store import find_model


def model_of_file(header: Header, chunk: ModelChunk | None) -> Model:
    """Load the model of a file of lvc's own codec. `chunk`: its `MODL`. Raises `UnsupportedError` if the model, or the
    base of a delta, is not installed, `CorruptError`, `LimitError`."""
    if chunk is None:
        return load_model(find_model(header.model_id, header.model_sha256))
    return model_of_bytes(bytes_of_file(header, chunk), header.model_id)


def bytes_of_file(header: Header, chunk: ModelChunk) -> bytes:
    """The bytes of the model in a video's file. Raises as `model_of_file`."""
    base = find_model(header.model_id, chunk.base_sha256).read_bytes() if chunk.base_sha256 else None
    return model_file(chunk, header.model_sha256, base)
