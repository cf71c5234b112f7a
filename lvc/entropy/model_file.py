"""Model files in `MODL` chunks, whole or as deltas (`formats/lvz.md`, section 5.10).

A delta is a zstd frame whose dictionary is the base model's file. Both files are untrusted; only their SHA-256 counts.
"""

from __future__ import annotations

import hashlib

import zstandard

from lvc.errors import CorruptError, LimitError, UnsupportedError
from lvc.limits import DEFAULT, Limits
from lvc.lvz import MODEL_DELTA, MODEL_WHOLE, ModelChunk

_LEVEL = 19
_MAGIC = b"\x28\xb5\x2f\xfd"


def model_chunk(model: bytes, base: bytes | None = None) -> ModelChunk:
    """Return the chunk for a model's file: whole, or as a delta to `base`, which a reader then needs."""
    if base is None:
        return ModelChunk(MODEL_WHOLE, model)
    window = max(10, (2 * len(model)).bit_length() - 1)  # as far as a reader allows: matches lie a file's length back
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=len(model), dict_size=len(base), window_log=window
    )
    packed = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base)).compress(model)
    return ModelChunk(MODEL_DELTA, packed, hashlib.sha256(base).digest())


def model_file(chunk: ModelChunk, sha256: bytes, base: bytes | None = None, limits: Limits = DEFAULT) -> bytes:
    """Return the model file of a chunk. Sizes are checked before anything is decompressed.

    Args:
        chunk: The chunk.
        sha256: The file's SHA-256, from `HEAD`.
        base: The base model's file for a delta; its SHA-256 is `chunk.base_sha256`.
        limits: Bounds on what a file may declare.

    Raises:
        UnsupportedError: The base is missing or a different one.
        CorruptError: The chunk is damaged, or `sha256` does not match.
        LimitError: The model is larger than `limits` allow.
    """
    if chunk.kind == MODEL_WHOLE:
        found = chunk.data
    else:
        if base is None or hashlib.sha256(base).digest() != chunk.base_sha256:
            raise UnsupportedError(
                f"the file's model is a delta to the model with SHA-256 {chunk.base_sha256.hex()}, which is not "
                "installed — install that model"
            )
        found = _applied(chunk.data, base, limits)
    if hashlib.sha256(found).digest() != sha256:
        raise CorruptError("the model in the file is not the one that HEAD names")
    return found


def _applied(data: bytes, base: bytes, limits: Limits) -> bytes:
    if data[:4] != _MAGIC:
        raise CorruptError("the model in the file is not a zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(data)
        size = parameters.content_size
        if size == zstandard.CONTENTSIZE_UNKNOWN:
            raise CorruptError("the model in the file does not declare its size")
        if size > limits.max_model:
            raise LimitError(f"a model of {size} bytes, limit {limits.max_model}")
        if parameters.window_size > max(1024, 2 * size) or parameters.dict_id:
            raise CorruptError("the model in the file asks for a large window or a numbered dictionary")
        decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(base), max_window_size=max(1024, 2 * size))
        found: bytes = decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"the model in the file is damaged ({error})") from error
    return found


def _dictionary(base: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
