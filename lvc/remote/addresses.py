"""Which names are URLs, and which library opens them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TextIO

# also fsspec's chains: simplecache::s3://bucket/key
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+._-]*::)*([a-z][a-z0-9+._-]+)://", re.IGNORECASE)
_HTTP = ("http", "https")
_OF_FFMPEG = frozenset(
    {*_HTTP, "file", "ftp", "hls", "mms", "mmsh", "mmst", "pipe", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtp", "rtsp"}
    | {"rtsps", "srt", "tcp", "tls", "udp", "unix"}
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[^:]*)(:[0-9]*)?")
_IN_TEXT = re.compile(r"""[a-z][a-z0-9+._-]+://[^\s"'<>]+""", re.IGNORECASE)


def protocol_of(name: str) -> str | None:
    """`s3` of `s3://bucket/key`, `simplecache::s3` where fsspec chains them; None for a path."""
    match = _ADDRESS.match(name)
    return None if match is None else match.group(0)[:-3].lower()


def is_http(name: str) -> bool:
    return protocol_of(name) in _HTTP


def is_stored(name: str) -> bool:
    """Whether lvc fetches a video at this URL itself, because FFmpeg does not support it."""
    protocol = protocol_of(name)
    return protocol is not None and protocol not in _OF_FFMPEG


def without_secrets(address: str) -> str:
    """The URL without user, password, query (which may hold signatures) and fragment. Paths are unchanged."""
    match = _ADDRESS.match(address)
    if match is None:
        return address
    scheme, rest = match[0], address[match.end() :]
    while "@" in rest:
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        if "@" in authority:
            rest = rest[authority.rindex("@") + 1 :]
        elif not _HOST.fullmatch(authority):  # a `/`, `?` or `#` in a password that was not quoted
            rest = rest[rest.rindex("@") + 1 :]
        else:
            break
    return scheme + re.split("[?#]", rest, maxsplit=1)[0]


_to_hide: dict[str, str] = {}


def remember(argument: str) -> bool:
    """Register the URL in this command-line argument for `hidden`, even if it contains spaces.

    Returns whether there is anything to hide."""
    match = _ADDRESS.search(argument)
    if match is None:
        return False
    address = argument[match.start() :]
    shown = without_secrets(address)
    if shown == address:
        return False
    single = address.replace("://", ":/", 1)  # as pathlib writes it
    _to_hide.update({address: shown, single: shown, repr(address)[1:-1]: shown, json.dumps(address)[1:-1]: shown})
    return True


def hidden(text: str) -> str:
    """A text in which every URL is replaced by `without_secrets` of it."""
    for address in sorted(_to_hide, key=len, reverse=True):
        text = text.replace(address, _to_hide[address])
    return _IN_TEXT.sub(lambda found: without_secrets(found[0]), text)


class Hiding:
    """A text stream, standard output or error, that writes through `hidden`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(hidden(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
