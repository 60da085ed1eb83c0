"""One range of a blob, as a caller asks for it (RFC 9110 14.1.2, 14.2, 13.1.5)."""

from __future__ import annotations

import re
from typing import Final

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class NotSatisfiable(Exception):
    """No byte of the blob is in the range."""


def span(asked: str | None, only_if: str | None, tag: str, size: int) -> tuple[int, int] | None:
    """Where the part begins and ends that is asked for; None is the whole.

    A range that is malformed, one of several, or asked for of another content is as none (RFC 9110 14.2).

    Raises:
        NotSatisfiable: it lies behind the end.
    """
    match = _RANGE.fullmatch(asked or "")
    if match is None or only_if not in {None, tag}:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end:
        raise NotSatisfiable
    return begin, end
