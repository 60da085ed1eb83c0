"""Decrypting what an identity provider encrypted for this site (XML Encryption 1.1).

Keys come by RSA-OAEP and nothing else. AES-GCM notices a change by itself; AES-CBC, which some identity
providers cannot do without, is only decrypted inside a message whose signature has been found to hold, so
that nobody can use this site to guess at what was encrypted.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree

from node.domain.errors import LoginRefused
from node.identity.saml.names import (
    AUTHENTICATED,
    ENCRYPTED_DATA,
    ENCRYPTED_KEY,
    MORE,
    OAEP,
    XENC,
    XENC11,
    ds,
)
from node.identity.xmlnames import DS, only

_SIZES: Final = {"aes128": 16, "aes192": 24, "aes256": 32}
_NONCE, _TAG, _BLOCK = 12, 16, 16
_DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    DS + "sha1": hashes.SHA1(),  # noqa: S303 - as the digest of OAEP it needs no resistance to collisions
    XENC + "sha256": hashes.SHA256(),
    MORE + "sha384": hashes.SHA384(),
    XENC + "sha512": hashes.SHA512(),
}
_MASKS: Final[dict[str, hashes.HashAlgorithm]] = {
    XENC11 + "mgf1sha1": hashes.SHA1(),  # noqa: S303 - the default of the standard (XML Encryption §5.5.2)
    XENC11 + "mgf1sha256": hashes.SHA256(),
    XENC11 + "mgf1sha384": hashes.SHA384(),
    XENC11 + "mgf1sha512": hashes.SHA512(),
}
_METHOD = f"{{{XENC}}}EncryptionMethod"
_VALUE = f"{{{XENC}}}CipherValue"
_REFUSED = "the message is not encrypted for a key of this site, or was changed"


def decrypt(holder: etree._Element, keys: Sequence[rsa.RSAPrivateKey], *, verified: bool) -> bytes:
    """What an `EncryptedAssertion` or `EncryptedID` holds.

    Args:
        holder: as the gate let it through.
        keys: those of this site, the one in use first.
        verified: whether the signature of the message around it has been found to hold.

    Raises:
        LoginRefused: it is encrypted for others, or was changed, or may not be decrypted.
    """
    data = only(holder, ENCRYPTED_DATA, LoginRefused)
    method = only(data, _METHOD, LoginRefused).get("Algorithm", "")
    if method not in AUTHENTICATED and not verified:
        raise LoginRefused(
            "AES-CBC is taken in signed messages alone; the identity provider should use AES-GCM, "
            "or sign its messages"
        )
    wrapped = list(holder.iter(ENCRYPTED_KEY))
    value = _bytes_of(data)
    for one in wrapped:
        for key in keys:
            plain = _opened(value, method, _unwrapped(one, key))
            if plain is not None:
                return plain
    raise LoginRefused(_REFUSED)


def _unwrapped(wrapped: etree._Element, key: rsa.RSAPrivateKey) -> bytes:
    """The key in an `EncryptedKey`; empty if it is for another."""
    method = only(wrapped, _METHOD, LoginRefused)
    digest = method.find(ds("DigestMethod"))
    mask = method.find(f"{{{XENC11}}}MGF")
    hashed = _DIGESTS.get(digest.get("Algorithm", "") if digest is not None else DS + "sha1")
    masked = _MASKS.get(mask.get("Algorithm", "") if mask is not None else XENC11 + "mgf1sha1")
    if hashed is None or masked is None or (mask is not None and method.get("Algorithm") == OAEP):
        raise LoginRefused("the message is encrypted in a way that is not allowed here")
    label = method.findtext(f"{{{XENC}}}OAEPparams")
    try:
        given = base64.b64decode("".join(label.split()), validate=True) if label else None
        return key.decrypt(_bytes_of(wrapped), padding.OAEP(padding.MGF1(masked), hashed, given))
    except ValueError:
        return b""


def _opened(value: bytes, method: str, key: bytes) -> bytes | None:
    """The plain text, if the key fits."""
    name = method.rpartition("#")[2].partition("-")[0]
    if len(key) != _SIZES.get(name):
        return None
    if method in AUTHENTICATED:
        return _opened_gcm(value, key)
    return _opened_cbc(value, key)


def _opened_gcm(value: bytes, key: bytes) -> bytes | None:
    if len(value) < _NONCE + _TAG:
        return None
    try:
        return AESGCM(key).decrypt(value[:_NONCE], value[_NONCE:], None)
    except InvalidTag:
        return None


def _opened_cbc(value: bytes, key: bytes) -> bytes | None:
    """AES-CBC with the padding of XML Encryption §5.2.1: the last octet says how many there are."""
    if len(value) < 2 * _BLOCK or len(value) % _BLOCK:
        return None
    engine = Cipher(algorithms.AES(key), modes.CBC(value[:_BLOCK])).decryptor()
    plain = engine.update(value[_BLOCK:]) + engine.finalize()
    return plain[: -plain[-1]] if 0 < plain[-1] <= _BLOCK else None


def _bytes_of(element: etree._Element) -> bytes:
    """The cipher text that an element of XML Encryption holds."""
    held = only(only(element, f"{{{XENC}}}CipherData", LoginRefused), _VALUE, LoginRefused)
    try:
        return base64.b64decode("".join((held.text or "").split()), validate=True)
    except ValueError:
        raise LoginRefused(_REFUSED) from None
