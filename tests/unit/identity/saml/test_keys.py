"""The keys of this site as a service provider, and their change."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.domain.errors import UnusableKey
from node.identity.saml import keys
from tests.support.saml_lab import pair

NOW = 1_800_000_000_000_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are made already."""
    names = iter(["brno", "prague", "plzen"])

    def made(name: str, now: int) -> bytes:
        key = pair(next(names))
        return key.pem + key.certificate.encode()

    monkeypatch.setattr(keys, "_made", made)


def test_a_key_is_made_once_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = keys.make(folder, name="prague", now=NOW)
    first = made.current()
    assert keys.make(folder, name="prague", now=NOW).current() == first
    assert (folder / keys.KEY).stat().st_mode & 0o077 == 0
    assert "private" not in repr(first)


def test_a_change_of_keys_keeps_what_was_encrypted_for_the_old_one_readable(tmp_path: Path) -> None:
    made = keys.make(tmp_path, name="prague", now=NOW)
    old = made.current()
    following = keys.prepare(tmp_path, now=NOW)
    assert keys.prepare(tmp_path, now=NOW) == following
    assert made.current() == old
    assert made.signing() == (old.certificate.pem, following.pem)
    assert made.encryption() == (following.pem,)
    assert keys.promote(tmp_path) == following
    assert made.current().certificate == following
    assert made.signing() == (following.pem, old.certificate.pem)
    assert made.encryption() == (following.pem,)
    assert [key.certificate for key in made.all()] == [following, old.certificate]
    keys.retire(tmp_path)
    keys.retire(tmp_path)
    assert made.signing() == (following.pem,)


def test_the_next_change_waits_for_the_end_of_the_last(tmp_path: Path) -> None:
    keys.make(tmp_path, name="prague", now=NOW)
    keys.prepare(tmp_path, now=NOW)
    keys.promote(tmp_path)
    with pytest.raises(UnusableKey, match="retire it first"):
        keys.prepare(tmp_path, now=NOW)
    keys.retire(tmp_path)
    keys.prepare(tmp_path, now=NOW)


def test_a_change_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    made = keys.make(tmp_path, name="prague", now=NOW)
    old = made.current()
    following = keys.prepare(tmp_path, now=NOW)
    (tmp_path / keys.PREVIOUS).write_bytes((tmp_path / keys.KEY).read_bytes())
    assert made.current() == old
    assert len(made.all()) == 2
    with pytest.raises(UnusableKey, match="promote it first"):
        keys.retire(tmp_path)
    assert keys.promote(tmp_path) == following
    assert [key.certificate for key in made.all()] == [following, old.certificate]


def test_a_change_holds_for_who_has_the_keys_open(tmp_path: Path) -> None:
    made = keys.make(tmp_path, name="prague", now=NOW)
    before = made.current()
    keys.prepare(tmp_path, now=NOW)
    keys.promote(tmp_path)
    assert made.current() != before


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff\xfe"])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / keys.KEY).write_bytes(content)
    with pytest.raises(UnusableKey, match=r"saml\.key"):
        keys.SpKeys(tmp_path).current()


def test_a_key_and_the_certificate_of_another_are_not_used(tmp_path: Path) -> None:
    (tmp_path / keys.KEY).write_bytes(pair("brno").pem + pair("prague").certificate.encode())
    with pytest.raises(UnusableKey, match="does not hold an RSA key and its certificate"):
        keys.SpKeys(tmp_path).current()


def test_an_elliptic_key_is_not_used_for_encryption(tmp_path: Path) -> None:
    odd = pair("elliptic", "ec")
    (tmp_path / keys.KEY).write_bytes(odd.pem + odd.certificate.encode())
    with pytest.raises(UnusableKey):
        keys.SpKeys(tmp_path).current()


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableKey, match=r"saml\.key"):
        keys.SpKeys(tmp_path).current()
    with pytest.raises(UnusableKey, match=r"saml\.next\.key"):
        keys.promote(tmp_path)


def test_a_key_of_this_program_is_large_enough_and_is_good_for_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    made = keys.make(tmp_path, name="images.prague.test", now=NOW).current()
    assert made.private.key_size == 3072
    assert made.certificate.name == "images.prague.test"
    assert made.certificate.days_left(NOW) == 5 * 365
