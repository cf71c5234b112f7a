"""Remote files: `https://…`, and every URL that fsspec supports (`s3://…`, `memory://…`).

Only the byte ranges that are needed are read: `RangeFile` is a seekable file over a `Store`. HTTP uses urllib3 with
limits of our own (docs/decisions/010-http.md), everything else fsspec (`pip install lvc[remote]`). `addresses` is cheap
to import; the other modules are imported when a URL is used.

    open.open_remote(address)     a file object to read from
    upload.upload(address)        a stream to write to
"""
