"""Identifiers: strings that were checked once, where they entered."""

from __future__ import annotations

import re
from typing import ClassVar, Self

from node.domain.errors import MalformedIdentifier


class Identifier(str):
    """A string of a given form; whoever holds one need not check it again."""

    form: ClassVar[re.Pattern[str]]
    what: ClassVar[str] = "identifier"

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text` against the form.

        Raises:
            MalformedIdentifier: it has another form.
        """
        if cls.form.fullmatch(text) is None:
            raise MalformedIdentifier(cls.what)
        return super().__new__(cls, text)

    @classmethod
    def trusted(cls, text: str) -> Self:
        """The same for text that this node checked before it wrote it."""
        return super().__new__(cls, text)


class UID(Identifier):
    """A DICOM unique identifier (PS3.5 9.1), leading zeros tolerated as modalities write them."""

    form = re.compile(r"(?=.{1,64}\Z)[0-9]+(?:\.[0-9]+)*")
    what = "UID"
    __slots__ = ()


class StudyUID(UID):
    """Study Instance UID (0020,000D)."""

    what = "Study Instance UID"
    __slots__ = ()


class SeriesUID(UID):
    """Series Instance UID (0020,000E)."""

    what = "Series Instance UID"
    __slots__ = ()


class InstanceUID(UID):
    """SOP Instance UID (0008,0018)."""

    what = "SOP Instance UID"
    __slots__ = ()


class SOPClassUID(UID):
    """SOP Class UID (0008,0016)."""

    what = "SOP Class UID"
    __slots__ = ()


class TransferSyntaxUID(UID):
    """Transfer Syntax UID (0002,0010)."""

    what = "Transfer Syntax UID"
    __slots__ = ()


class AETitle(Identifier):
    """An application entity title: up to 16 printable characters (PS3.5 6.2, VR AE)."""

    form = re.compile(r"(?=.{1,16}\Z)[!-\[\]-~](?:[ -\[\]-~]*[!-\[\]-~])?")
    what = "AE title (up to 16 printable characters, no backslash)"
    __slots__ = ()


class SiteId(Identifier):
    """The name of a site in the federation: lower case, as in a host name."""

    form = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
    what = "site name (2 to 32 of a-z, 0-9 and '-', starting with a letter)"
    __slots__ = ()


class Digest(Identifier):
    """SHA-256 of stored bytes, in hexadecimal."""

    form = re.compile(r"[0-9a-f]{64}")
    what = "SHA-256 digest"
    __slots__ = ()


class RuleName(Identifier):
    """What a site calls one of its rules."""

    form = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
    what = "name of a rule (up to 32 of a-z, 0-9 and '-')"
    __slots__ = ()


class SourceName(Identifier):
    """What a site calls one of its sources of identity providers."""

    form = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
    what = "name of a source (up to 64 of a-z, 0-9, '.' and '-')"
    __slots__ = ()
