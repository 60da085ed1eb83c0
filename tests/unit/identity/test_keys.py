"""The key of the node: made once, changed with an overlap, and whole after a crash at any point."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.domain.clock import system_clock
from node.domain.errors import Expired, Malformed, UnusableKey
from node.domain.ids import SiteId
from node.identity import keys
from node.identity.certificates import from_base64, known, read
from tests.support.signed import BRNO, NOW

DAY = 86_400 * 1_000_000
NOW_REAL = system_clock()


@pytest.fixture
def folder(tmp_path) -> Path:
    keys.make(tmp_path / "keys", site=BRNO, now=NOW)
    return tmp_path / "keys"


def test_the_certificate_names_the_site_and_is_good_for_both_ends_of_tls(folder):
    made = x509.load_pem_x509_certificate((folder / "node.crt").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert made.subject.rfc4514_string() == "CN=brno"
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:konzilium:node:brno"]
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_key_that_was_loaded_knows_its_site_its_fingerprint_and_when_it_expires(folder):
    key = keys.load(folder)
    der = ssl.PEM_cert_to_DER_cert((folder / "node.crt").read_text())
    assert key.site == BRNO
    assert key.pem == (folder / "node.crt").read_text()
    assert bytes.fromhex(key.fingerprint) == x509.load_der_x509_certificate(der).fingerprint(
        x509.load_der_x509_certificate(der).signature_hash_algorithm
    )
    assert 1820 <= key.certificate.days_left(NOW) <= 1826
    assert key.certificate.days_left(NOW + 2000 * DAY) < 0


def test_nobody_else_can_read_the_keys(folder):
    keys.prepare(folder, now=NOW)
    for name in ("node.key", "next.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_key_that_is_there_is_never_replaced_by_making_it_again(folder):
    before = keys.load(folder)
    assert keys.make(folder, site=BRNO, now=NOW + DAY) == before


def test_making_a_key_that_was_cut_short_goes_on_with_the_key_that_is_there(folder):
    private = (folder / "node.key").read_bytes()
    (folder / "node.crt").unlink()
    assert keys.make(folder, site=BRNO, now=NOW).site == BRNO
    assert (folder / "node.key").read_bytes() == private


def test_a_certificate_without_its_key_is_not_papered_over(folder):
    (folder / "node.key").unlink()
    for use in (keys.load, lambda at: keys.make(at, site=BRNO, now=NOW)):
        with pytest.raises(UnusableKey, match=r"node\.(key|crt)"):
            use(folder)


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_file_is_named(folder, content):
    for name in ("node.key", "node.crt"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(UnusableKey, match=name):
            keys.load(folder)
        (folder / name).write_bytes(kept)
    assert keys.load(folder).site == BRNO


def test_a_change_of_keys_overlaps(folder):
    old = keys.load(folder).certificate
    new = keys.prepare(folder, now=NOW)
    assert keys.prepare(folder, now=NOW + DAY) == new
    assert keys.published(folder) == (old, new)
    assert keys.promote(folder).certificate == new
    assert keys.published(folder) == (new, old)
    assert not (folder / "next.key").exists()
    keys.retire(folder)
    keys.retire(folder)
    assert keys.published(folder) == (new,)


def test_there_is_nothing_to_promote_before_a_key_was_prepared(folder):
    before = keys.load(folder)
    with pytest.raises(UnusableKey, match=r"next\.key"):
        keys.promote(folder)
    assert keys.load(folder) == before


def test_a_change_of_keys_that_a_crash_cuts_short_anywhere_is_whole_afterwards(folder, tmp_path, monkeypatch):
    """Cut before each change of the file system in turn, until nothing is left to cut."""
    keys.prepare(folder, now=NOW)
    cuts = 0
    while True:
        copied = tmp_path / f"cut{cuts}"
        shutil.copytree(folder, copied)
        if not cut_short(monkeypatch, copied, after=cuts):
            break
        old_or_new = keys.load(copied).certificate
        assert old_or_new in keys.published(folder)
        assert set(keys.published(folder)) == set(keys.published(copied))
        if (copied / "next.key").exists():
            keys.promote(copied)
        assert keys.load(copied).certificate == keys.published(folder)[1]
        cuts += 1
    assert cuts >= 3


def cut_short(monkeypatch, folder: Path, *, after: int) -> bool:
    """Promote, but crash instead of the change of names after the first `after`; says whether it did."""
    left = [after]
    replace = Path.replace

    def replaced(self, target):
        if not left[0]:
            raise InterruptedError
        left[0] -= 1
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replaced)
        try:
            keys.promote(folder)
        except InterruptedError:
            return True
    return False


def test_another_process_that_reads_amid_a_change_gets_a_key_with_its_certificate(folder):
    new = keys.prepare(folder, now=NOW)
    os.replace(folder / "next.key", folder / "node.key")
    assert keys.load(folder).certificate == new
    assert keys.load(folder).certificate == new


def test_two_nodes_shake_hands_with_nothing_but_their_pinned_certificates(tmp_path):
    """Without authorities, as strict as each Python is by default."""
    brno = keys.make(tmp_path / "brno", site=BRNO, now=NOW_REAL)
    prague = keys.make(tmp_path / "prague", site=SiteId("prague"), now=NOW_REAL)
    rogue = keys.make(tmp_path / "rogue", site=BRNO, now=NOW_REAL)
    assert handshake(client=brno, server=prague) == (prague.fingerprint, brno.fingerprint)
    with pytest.raises(ssl.SSLError):
        handshake(client=rogue, server=prague, pinned=brno)


def handshake(*, client, server, pinned=None) -> tuple[str, str]:
    """What each end sees of the other."""
    calling = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=server.pem)
    calling.load_cert_chain(client.certificate_file, client.key_file)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=(pinned or client).pem)
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(server.certificate_file, server.key_file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        calling.wrap_bio(to_client, to_server, server_hostname=server.site),
        serving.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    seen = [read(ssl.DER_cert_to_PEM_cert(end.getpeercert(binary_form=True))).fingerprint for end in ends]
    return seen[0], seen[1]


def test_a_certificate_is_the_same_however_it_is_written(folder):
    certificate = keys.load(folder).certificate
    assert read(certificate.pem) == known(certificate.pem) == from_base64(certificate.base64) == certificate
    wrapped = "\n".join(certificate.base64[at : at + 64] for at in range(0, len(certificate.base64), 64))
    assert from_base64(f"\n{wrapped}\n") == certificate


def test_a_certificate_is_taken_in_its_time_give_or_take_the_skew(folder):
    certificate = keys.load(folder).certificate
    certificate.demand_current(NOW)
    certificate.demand_current(certificate.not_after + 5, skew=5)
    for outside in (certificate.not_before - 1, certificate.not_after + 1):
        with pytest.raises(Expired, match="brno is valid from"):
            certificate.demand_current(outside)


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "A" * 20_000])
def test_what_is_no_certificate_is_refused(text):
    for reader in (read, from_base64):
        with pytest.raises(Malformed, match="certificate"):
            reader(text)
