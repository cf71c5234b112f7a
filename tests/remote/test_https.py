"""https: the server has to prove who it is."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvc.errors import MediaError
from lvc.lvz import LvzReader
from lvc.remote.open import open_remote
from tests.helpers.far_site import Site, serving
from tests.helpers.lvz_files import lvz

pytest.importorskip("cryptography")
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

DATA = lvz()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, with its key, signed by nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def secure_site(certificate: Path) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as site:
        yield site


def test_a_range(secure_site: Site, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure_site.faults = ["", "drop", "", "cut"]
    with open_remote(secure_site.put(DATA)) as file:
        clips = list(LvzReader(file).records_from(12.5, 14.5, packets=False))
    assert [clip.first_frame for clip in clips] == [300, 325, 350, 375]  # type: ignore[union-attr]


def test_a_stranger_is_refused_at_once(secure_site: Site) -> None:
    with pytest.raises(MediaError, match="certificate is not valid"):
        open_remote(secure_site.put(DATA))
    assert secure_site.requests == []


def test_no_way_down_to_http(secure_site: Site, site: Site, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure_site.redirects = {"/a.lvz": site.put(DATA)}
    with pytest.raises(MediaError, match="insecure"):
        open_remote(secure_site.address + "/a.lvz")
    assert site.requests == []
