"""Which names are addresses, and who fetches what is there."""

from __future__ import annotations

import re

# also fsspec's chains: simplecache::s3://bucket/key
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+._-]*::)*([a-z][a-z0-9+._-]+)://", re.IGNORECASE)
_HTTP = ("http", "https")
_SECRETS = re.compile(r"(?<=://)[^/@\s]*@")


def protocol_of(name: str) -> str | None:
    """`s3` of `s3://bucket/key`, `simplecache::s3` where fsspec chains them; None for a path."""
    match = _ADDRESS.match(name)
    return None if match is None else match.group(0)[:-3].lower()


def is_address(name: str) -> bool:
    return _ADDRESS.match(name) is not None


def is_http(name: str) -> bool:
    return protocol_of(name) in _HTTP


def without_secrets(address: str) -> str:
    """The address as it may be shown: no user, no password, no query (signatures are there)."""
    return _SECRETS.sub("", address).split("?")[0]
