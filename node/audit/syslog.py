"""Audit messages as lines of syslog, as repositories receive them over TLS (RFC 5424, RFC 5425; PS3.15 A.6).

The number of the record is the `sequenceId` of the line, so that a repository knows one that it gets twice.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from node.audit.message import message, outcome
from node.audit.participants import Source
from node.audit.record import Record, read

FACILITY: Final = 10
"""Security and authorization messages (PS3.15 A.6)."""
SEVERITIES: Final = {"0": 5, "4": 4, "8": 3}
"""Notice, warning or error, by the outcome of the event."""
MESSAGE_ID: Final = "DICOM+RFC3881"
"""What is in the message: an audit message of PS3.15 A.5."""
LARGEST_SEQUENCE: Final = 2_147_483_647
"""After this `sequenceId` begins at 1 again (RFC 5424 §7.3.1)."""
_BOM: Final = b"\xef\xbb\xbf"
_NAME: Final = re.compile(r"[^\x21-\x7e]+")


def line(record: Record, source: Source, *, host: str, version: str) -> bytes:
    """A record as one syslog message.

    Args:
        record: what happened.
        source: the node that reports.
        host: the name of this machine.
        version: of the software.
    """
    deed = read(record.deed)
    priority = FACILITY * 8 + SEVERITIES[outcome(deed)]
    at = datetime.fromtimestamp(record.at / 1_000_000, UTC).isoformat(timespec="microseconds")
    number = (record.seq - 1) % LARGEST_SEQUENCE + 1
    data = f'[meta sequenceId="{number}"][origin software="konzilium" swVersion="{version[:32]}"]'
    head = f"<{priority}>1 {at.removesuffix('+00:00')}Z {_name(host)} konzilium - {MESSAGE_ID} {data} "
    return head.encode("ascii") + _BOM + message(deed, record.at, source)


def frame(text: bytes) -> bytes:
    """A message as it goes over a stream: its length before it (RFC 5425 §4.3)."""
    return b"%d %b" % (len(text), text)


def _name(host: str) -> str:
    """The name of a machine in the characters of the header, or nothing (RFC 5424 §6.2.4)."""
    return _NAME.sub("", host)[:255] or "-"
