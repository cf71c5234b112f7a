"""`lvc serve`: a gallery of `.lvz` files with a player, over HTTP.

library    which files there are; names become files by looking them up, nothing else
guard      who may ask; the security headers
ranges     bytes of a file
thumbs     key frames as JPEG
pages      HTML
app        which address gives what
run        the socket, and the end

Starlette and uvicorn come with the extra `lvc[serve]`.
"""
