"""`lvc serve`: a gallery of `.lvz` files with a player, over HTTP.

library    the files that are served, found only by looking up their names
guard      access control; security headers
ranges     files and byte ranges
thumbs     key frames as JPEG
pages      HTML
app        routes
run        the socket, start and stop

Starlette and uvicorn come with the extra `lvc[serve]`.
"""
