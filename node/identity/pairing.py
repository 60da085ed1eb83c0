"""How two sites find out that both know a short code, without telling it to each other or to anybody between.

A code of eight digits is short enough to be tried out in a second by whoever holds a value that was computed
from it. So the code is not sent, nor a hash of it: it chooses the generator of a Diffie-Hellman exchange
(SPEKE, IEEE 1363.2 and ISO/IEC 11770-4). Each run of the exchange tells the other side whether one guess
was right, and nothing else; the invitation is spoiled after a few runs.

The group is that of the 2048-bit safe prime of RFC 3526 section 3, in its subgroup of quadratic residues.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from node.domain.errors import MalformedMessage
from node.journal.entry import canonical

PRIME: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
LENGTH: Final = 256
"""Bytes of an element of the group."""
CODE_DIGITS: Final = 8


def code_of(random: bytes) -> str:
    """A code to be read over the phone: `4821-7730`.

    Args:
        random: 16 random bytes or more, so that all codes are equally likely.
    """
    digits = f"{int.from_bytes(random) % 10**CODE_DIGITS:0{CODE_DIGITS}}"
    return f"{digits[:4]}-{digits[4:]}"


def shared_secret(token_secret: str, code: str) -> str:
    """What both sides derive from the token and the code, in whichever way the code was typed."""
    digits = "".join(sign for sign in code if sign.isdigit())
    return hashlib.sha256(f"konzilium invitation {token_secret} {digits}".encode()).hexdigest()


def offer(secret: str, private: bytes) -> str:
    """What one side sends to the other, in hexadecimal.

    Args:
        secret: `shared_secret`.
        private: 32 bytes that nobody else knows, different ones for each exchange.
    """
    return pow(_generator(secret), _exponent(private), PRIME).to_bytes(LENGTH).hex()


def agree(private: bytes, offered: str) -> bytes:
    """The key on which both sides agree if they know the same secret.

    Raises:
        MalformedMessage: what the other side offered is none of the values that it can compute.
    """
    try:
        element = int.from_bytes(bytes.fromhex(offered))
    except ValueError:
        raise MalformedMessage("the offer is not hexadecimal") from None
    if len(offered) != 2 * LENGTH or not 1 < element < PRIME - 1:
        raise MalformedMessage("the offer is no element of the group")
    shared = pow(element, 2 * _exponent(private), PRIME)
    return hashlib.sha256(b"konzilium key " + shared.to_bytes(LENGTH)).digest()


def proof(key: bytes, role: str, said: dict[str, str]) -> str:
    """That this side has the key, and means the same as the other by everything that was said."""
    return hmac.new(key, canonical({**said, "role": role}).encode(), hashlib.sha256).hexdigest()


def is_proved(key: bytes, role: str, said: dict[str, str], shown: str) -> bool:
    """Whether the other side has proved it."""
    return hmac.compare_digest(proof(key, role, said).encode(), shown.encode("utf-8", "replace"))


def _generator(secret: str) -> int:
    """A quadratic residue whose logarithm to any other one nobody knows."""
    wide = b"".join(hashlib.sha256(f"konzilium generator {n} {secret}".encode()).digest() for n in range(9))
    return pow(int.from_bytes(wide) % PRIME, 2, PRIME)


def _exponent(private: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"konzilium exponent " + private).digest()) | 1 << 255
