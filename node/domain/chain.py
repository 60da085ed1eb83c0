"""Hash chains: each link names the one before, so that nothing can be taken out unnoticed."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

START = "0" * 64
"""What the first link of a chain names as the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: where the next link goes."""

    seq: int = 0
    hash: str = START


def link(previous: str, *parts: str | int) -> str:
    """The hash of a link: of the link before and of its own parts, in order.

    Args:
        previous: hash of the link before, or `START`.
        parts: what the link says; lengths are hashed too, so that parts cannot flow together.
    """
    texts = [str(part) for part in parts]
    lengths = ",".join([str(len(text)) for text in texts])
    return sha256("\n".join([previous, lengths, *texts]).encode()).hexdigest()
