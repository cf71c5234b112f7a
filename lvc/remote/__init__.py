"""Files that are far away: `https://…`, and every address that fsspec knows (`s3://…`, `memory://…`).

Such a file is read by ranges of bytes, and only by those that are asked for: `RangeFile` is a seekable file over a
`Store`. HTTP is spoken with the standard library, so that it needs no extra and every request is ours; everything else
is left to fsspec (`pip install lvc[remote]`), which is imported when an address needs it.
"""

from __future__ import annotations

from lvc.remote.addresses import is_address
from lvc.remote.open import open_remote, open_shared
from lvc.remote.upload import check_target, upload

__all__ = ["check_target", "is_address", "open_remote", "open_shared", "upload"]
