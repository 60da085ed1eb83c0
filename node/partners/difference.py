"""What ought to be at a partner, what is known to be there, what it says: and what follows from that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from node.domain.ids import Digest, InstanceUID, StudyUID
from node.domain.job import SECOND
from node.domain.partner import THERE, CopyThere, PartnerCopy

SETTLING = 600 * SECOND
"""How long a partner may take to list what it has taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What is to be written, forgotten and sent about the copies of a study."""

    saved: tuple[PartnerCopy, ...] = ()
    """Copies of which something else is known now."""
    dropped: tuple[InstanceUID, ...] = ()
    """Copies of which nothing is to be known any more."""
    missing: tuple[InstanceUID, ...] = ()
    """Instances that are to be sent."""


def compare(
    study: StudyUID,
    ought: Mapping[InstanceUID, Digest],
    held: Collection[str],
    copies: Mapping[InstanceUID, PartnerCopy],
    there: Collection[str],
    *,
    now: int,
    retry: bool = False,
) -> Steps:
    """Compare the copies of a study with what its partner says.

    Args:
        study: which.
        ought: what the rules say ought to be there, with the name of its bytes.
        held: the instances whose bytes are here, so that they can be sent.
        copies: what is known so far.
        there: the instances that the partner lists.
        now: microseconds since 1970.
        retry: whether what was refused is to be sent again.
    """
    saved: list[PartnerCopy] = []
    missing: list[InstanceUID] = []
    for uid, digest in ought.items():
        known = copies.get(uid)
        if known is None and uid not in held and uid not in there:
            continue
        before = known or PartnerCopy(instance=uid, study=study)
        after = _seen(before, digest, now) if uid in there else _missed(before, now, retry)
        if after != known:
            saved.append(after)
        if after.state is CopyThere.OWED and uid in held:
            missing.append(uid)
    left = [_left(copy, now) for uid, copy in copies.items() if uid not in ought and uid in there]
    saved += [copy for copy in left if copy != copies[copy.instance]]
    dropped = tuple(uid for uid in copies if uid not in ought and uid not in there)
    return Steps(saved=tuple(saved), dropped=dropped, missing=tuple(missing))


def settled(
    ought: Mapping[InstanceUID, Digest],
    held: Collection[str],
    copies: Mapping[InstanceUID, PartnerCopy],
    told: int | None,
) -> bool:
    """Whether a study need not be looked at by its instances.

    So it is where all that ought to be there was found there before, and the partner has as many instances
    now as it had then.

    Args:
        ought: what ought to be there.
        held: the instances whose bytes are here.
        copies: what is known so far.
        told: how many instances the partner says it has; None where it does not.
    """
    good = {CopyThere.FOUND, CopyThere.COMMITTED}
    known = [copy for copy in copies.values() if copy.state in good]
    if told is None or told != len(known) or len(known) != len(copies):
        return False
    return all(
        uid in copies and copies[uid].digest in (digest, None) for uid, digest in ought.items() if uid in held
    )


def _seen(copy: PartnerCopy, digest: Digest, now: int) -> PartnerCopy:
    """A copy that the partner lists."""
    if copy.digest not in (digest, None):
        return _turned(copy, CopyThere.OWED, now, "other content is archived under this UID now")
    if copy.state is CopyThere.COMMITTED:
        return copy
    return _turned(copy, CopyThere.FOUND, now, copy.why if copy.state is CopyThere.FOUND else "")


def _missed(copy: PartnerCopy, now: int, retry: bool) -> PartnerCopy:
    """A copy that the partner does not list."""
    match copy.state:
        case CopyThere.FOUND | CopyThere.COMMITTED:
            return _turned(copy, CopyThere.OWED, now, f"it was {copy.state} and is not there any more")
        case CopyThere.SENT if now - copy.at >= SETTLING:
            return _turned(copy, CopyThere.REFUSED, now, "it was taken and is not listed there")
        case CopyThere.REFUSED if retry:
            return _turned(copy, CopyThere.OWED, now, copy.why)
        case _:
            return copy


def _left(copy: PartnerCopy, now: int) -> PartnerCopy:
    """A copy that is there and ought not to be: it was withdrawn here, or the rules do not mean it now."""
    return copy if copy.state in THERE else _turned(copy, CopyThere.FOUND, now, "")


def _turned(copy: PartnerCopy, state: CopyThere, now: int, why: str) -> PartnerCopy:
    at = copy.at if copy.state is state else now
    return replace(copy, state=state, at=at, why=why)


def batches(instances: Collection[InstanceUID], size: int) -> Iterator[tuple[InstanceUID, ...]]:
    """The instances, so many at a time."""
    listed = tuple(instances)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
