"""What several commands say of certificates."""

from __future__ import annotations

from collections.abc import Iterable

from services.cli.output import say


def grouped(fingerprint: str) -> str:
    """A fingerprint as two people compare it: groups of four."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def say_fingerprints(whose: str, fingerprints: Iterable[str]) -> None:
    """Show by what a site is recognised."""
    for fingerprint in fingerprints:
        say(f"  Fingerprint of {whose}:")
        say(f"    {grouped(fingerprint[:32])}")
        say(f"    {grouped(fingerprint[32:])}")
