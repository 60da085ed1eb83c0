"""How the command line writes fingerprints, and reads them."""

from __future__ import annotations

import re
from typing import Any

import click

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def grouped(fingerprint: str) -> str:
    """A fingerprint as other programs print it and people compare it: pairs with colons."""
    text = fingerprint.upper()
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))


class Fingerprint(click.ParamType[str]):
    """The SHA-256 fingerprint of a certificate, with colons and spaces or without."""

    name = "fingerprint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it, or say what it has to be."""
        text = re.sub(r"[:\s]", "", str(value)).lower()
        if _FINGERPRINT.fullmatch(text) is None:
            self.fail(f"{value!r} is no SHA-256 fingerprint: 32 pairs of 0-9 and A-F.", param, ctx)
        return text


FINGERPRINT = Fingerprint()
