"""A minimal RTSP server for one client (RFC 2326, RTP interleaved with TCP): `python rtsp_server.py PORT FRAMES RATE`.

FFmpeg receives RTSP pushes but cannot be asked for a stream, and Debian has no small program that serves one.
So FFmpeg's RTP muxer makes the packets (`sender.py`, MPEG-TS over RTP), and this forwards them.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:video\r\n"
ANSWERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
    "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
    "PLAY": "Session: 1\r\n",
}


def main(port: int, frames: str, rate: str) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        client = server.accept()[0]
        with client, client.makefile("rb") as requests:
            method = ""
            while method != "PLAY":
                lines = list(iter(lambda: requests.readline().strip().decode(), ""))
                if not lines:
                    return
                method = lines[0].split()[0]
                number = next(line for line in lines if line.lower().startswith("cseq"))
                body = SDP if method == "DESCRIBE" else ""
                client.sendall(f"RTSP/1.0 200 OK\r\n{number}\r\n{ANSWERS.get(method, '')}\r\n{body}".encode())
            forward(client, frames, rate)


def forward(client: socket.socket, frames: str, rate: str) -> None:
    """RTP packets from a sender's UDP to the client's connection, until either stops."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp:
        rtp.bind(("127.0.0.1", 0))
        address = f"rtp://127.0.0.1:{rtp.getsockname()[1]}?pkt_size=1316"
        sender = [sys.executable, str(Path(__file__).with_name("sender.py")), address, "rtp_mpegts", frames, rate]
        with subprocess.Popen(sender) as process:
            try:
                while True:
                    packet = rtp.recv(2048)
                    client.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
            except ConnectionError:  # the client has what it wanted
                process.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
