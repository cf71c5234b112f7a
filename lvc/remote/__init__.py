"""Remote files: `https://…`, and every URL that fsspec supports (`s3://…`, `memory://…`).

Such a file is read by ranges of bytes, and only by those that are asked for: `RangeFile` is a seekable file over a
`Store`. HTTP is spoken through urllib3, within bounds of our own (docs/decisions/010-http.md); everything else is left
to fsspec (`pip install lvc[remote]`). `addresses` is cheap to import; the others come in when an address does.

    open.open_remote(address)     a file object to read from
    upload.upload(address)        a stream to write to
"""
