"""Which names are addresses, and who fetches what is there."""

from __future__ import annotations

import re

# also fsspec's chains: simplecache::s3://bucket/key
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+._-]*::)*([a-z][a-z0-9+._-]+)://", re.IGNORECASE)
_HTTP = ("http", "https")
_OF_FFMPEG = frozenset(
    {*_HTTP, "file", "ftp", "hls", "mms", "mmsh", "mmst", "pipe", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtp", "rtsp"}
    | {"rtsps", "srt", "tcp", "tls", "udp", "unix"}
)
_SECRETS = re.compile(r"(?<=://)[^/@\s]*@")


def protocol_of(name: str) -> str | None:
    """`s3` of `s3://bucket/key`, `simplecache::s3` where fsspec chains them; None for a path."""
    match = _ADDRESS.match(name)
    return None if match is None else match.group(0)[:-3].lower()


def is_address(name: str) -> bool:
    return _ADDRESS.match(name) is not None


def is_http(name: str) -> bool:
    return protocol_of(name) in _HTTP


def is_stored(name: str) -> bool:
    """Whether a video at this address is fetched by lvc, and not by FFmpeg, which knows nothing of it."""
    protocol = protocol_of(name)
    return protocol is not None and protocol not in _OF_FFMPEG


def without_secrets(address: str) -> str:
    """The address as it may be shown: no user, no password, no query (signatures are there)."""
    return _SECRETS.sub("", address).split("?")[0]
