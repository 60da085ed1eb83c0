"""The certificate that a portal makes for itself."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

from node.identity.web_keys import RENEWED, VALID, make

DAY = 86_400 * 1_000_000


@pytest.fixture
def now() -> int:
    return time.time_ns() // 1000


def test_it_names_the_host_and_is_there_for_tls(tmp_path: Path, now: int) -> None:
    certificate, key = make(tmp_path, host="images.hospital-brno.test", now=now)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    known = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["images.hospital-brno.test"]
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_is_named_as_one(tmp_path: Path, now: int, host: str) -> None:
    certificate, _ = make(tmp_path, host=host, now=now)
    known = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == [host]


def test_it_stays_until_shortly_before_its_end(tmp_path: Path, now: int) -> None:
    certificate, _ = make(tmp_path, host="a.test", now=now)
    first = certificate.read_bytes()
    make(tmp_path, host="a.test", now=now + 100 * DAY)
    assert certificate.read_bytes() == first
    make(tmp_path, host="a.test", now=now + (VALID - RENEWED).days * DAY + DAY)
    assert certificate.read_bytes() != first


def test_another_host_or_a_damaged_file_means_another_certificate(tmp_path: Path, now: int) -> None:
    certificate, key = make(tmp_path, host="a.test", now=now)
    first = certificate.read_bytes()
    make(tmp_path, host="b.test", now=now)
    second = certificate.read_bytes()
    key.write_text("nothing")
    make(tmp_path, host="b.test", now=now)
    assert len({first, second, certificate.read_bytes()}) == 3
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
