"""What a drill is held on: some objects of the live site, copied with their digests compared."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from heapq import nsmallest
from itertools import islice
from typing import BinaryIO

from node.blobs.store import BlobStore, BlobWriter
from node.catalog.catalog import Catalog
from node.catalog.copying import bytes_of, copy
from node.catalog.samples import Samples, Weight
from node.domain.errors import BlobMissing, NodeError
from node.domain.ids import Digest, StudyUID
from node.recovery.drill.order import Bounds, Order
from node.recovery.drill.outcome import Course, first, plural
from node.recovery.drill.scratch import Area, ScratchSite

_PIECE = 1 << 20
_TOGETHER = 64
"""Objects that are made durable together."""
LOOKS = 200
"""Studies that are looked at for one that fits in the bounds."""


def snapshot(area: Area, course: Course, name: str = "site") -> ScratchSite:
    """Copy the live catalog as it is now, and open the copy as a site without bytes.

    Raises:
        StoreFull: there is no room for it.
    """
    live = area.live
    with course.step("copy the catalog") as timed:
        area.demand_room(bytes_of(live.catalog_file))
        folder = area.folder / name
        folder.mkdir(mode=0o700, parents=True)
        copy(live.catalog_file, folder / "catalog.db")
        timed.told = f"{bytes_of(folder / 'catalog.db') / 1_000_000:,.1f} MB, while the site goes on working"
    return area.site(name)


def some_objects(catalog: Catalog, order: Order, course: Course) -> dict[Digest, int]:
    """Objects of a site, each as likely as the others, within the bounds: digest and size."""
    with catalog.reading() as unit:
        samples = Samples(unit)
        chosen = dict(samples.objects()) if order.bounds.everything else _within(samples, order)
        total = samples.weight()
    _note(course, chosen, total)
    return chosen


def _within(samples: Samples, order: Order) -> dict[Digest, int]:
    """As many objects as there is room for, in an order that follows from the seed and the digests alone."""

    def place(one: tuple[Digest, int]) -> bytes:
        return hashlib.sha256(f"{order.seed} {one[0]}".encode()).digest()

    chosen: dict[Digest, int] = {}
    room = order.bounds.bytes
    for digest, size in nsmallest(order.bounds.objects, samples.objects(), key=place):
        if size <= room:
            chosen[digest] = size
            room -= size
    return chosen


def some_studies(
    catalog: Catalog, order: Order, course: Course, *, withdrawn: bool = False
) -> tuple[set[StudyUID], dict[Digest, int]]:
    """Studies of a site with all that hangs together with them, and what is here of them.

    Where nothing that hangs together fits in the bounds, the smallest that was come upon is taken.
    """
    with catalog.reading() as unit:
        samples = Samples(unit)
        known, total = samples.studies(), samples.weight(withdrawn=withdrawn)
        if order.bounds.everything:
            taken, held = known, samples.held(known, withdrawn=withdrawn)
        else:
            taken, held = _families(samples, known, order, withdrawn=withdrawn)
    _note(course, held, total)
    return taken, held


def _families(
    samples: Samples, known: set[StudyUID], order: Order, *, withdrawn: bool
) -> tuple[set[StudyUID], dict[Digest, int]]:
    """Whole families of studies, as many as there is room for, and what is here of them."""
    studies = sorted(known)
    order.dice("studies").shuffle(studies)
    taken: set[StudyUID] = set()
    left: set[StudyUID] = set()
    held: dict[Digest, int] = {}
    smallest: tuple[Weight, set[StudyUID]] | None = None
    for study in studies:
        if len(left) > LOOKS or len(held) >= order.bounds.objects:
            break
        if study in taken or study in left:
            continue
        family = samples.kin(study)
        weight = samples.counted(family)
        more = held | (samples.held(family, withdrawn=withdrawn) if _fits(weight, order.bounds) else {})
        if family <= known and len(more) > len(held) and _fits(_weight(more), order.bounds):
            taken |= family
            held = more
            continue
        left |= family
        if family <= known and (smallest is None or weight.objects < smallest[0].objects):
            smallest = weight, family
    if not taken and smallest is not None:
        taken, held = smallest[1], samples.held(smallest[1], withdrawn=withdrawn)
    return taken, held


def _weight(held: Mapping[Digest, int]) -> Weight:
    return Weight(len(held), sum(held.values()))


def _fits(weight: Weight, bounds: Bounds) -> bool:
    return weight.objects <= bounds.objects and weight.bytes <= bounds.bytes


def _note(course: Course, chosen: Mapping[Digest, int], total: Weight) -> None:
    sample = course.outcome.sample
    sample.objects, sample.bytes = len(chosen), sum(chosen.values())
    sample.of_objects, sample.of_bytes = total.objects, total.bytes
    course.demand(bool(chosen), "there is nothing here to hold a drill on")


def bring(area: Area, target: BlobStore, chosen: Mapping[Digest, int], course: Course) -> set[Digest]:
    """Copy objects of the live store, each read and compared with its digest; those that came.

    What is damaged or missing in the live store is a reason to fail: it was not planted.

    Raises:
        StoreFull: there is no room for them.
    """
    area.demand_room(sum(chosen.values()))
    came: set[Digest] = set()
    with course.step("copy the sample") as timed:
        waiting = iter(sorted(chosen))
        while pack := list(islice(waiting, _TOGETHER)):
            came |= _brought(area.live.blobs, target, pack)
            course.tell(len(came), len(chosen))
        timed.told = plural(len(came))
    lost = chosen.keys() - came
    if lost:
        course.fail(
            f"{plural(len(lost))} of the live site {'is' if len(lost) == 1 else 'are'} missing or damaged "
            f"now (run `konzilium check --verify`): {', '.join(first(lost)[:5])}"
        )
    return came


def _brought(source: BlobStore, target: BlobStore, pack: Iterable[Digest]) -> set[Digest]:
    writers: list[BlobWriter] = []
    came: set[Digest] = set()
    try:
        for digest in pack:
            writer = target.writer().__enter__()
            writers.append(writer)
            if _written(source, writer, digest):
                came.add(digest)
            else:
                writers.pop().__exit__()
        target.keep_all(writers)
    finally:
        for writer in writers:
            writer.__exit__()
    return came


def _written(source: BlobStore, writer: BlobWriter, digest: Digest) -> bool:
    """Write an object aside; whether it is what its name says."""
    try:
        file = source.open(digest)
    except NodeError:
        return False
    with file:
        while chunk := _read(file):
            writer.write(chunk)
    return writer.finish() == digest


def _read(file: BinaryIO) -> bytes:
    """The next piece; a medium that does not give it ends the object."""
    try:
        return file.read(_PIECE)
    except OSError:
        return b""


def compare(target: BlobStore, wanted: Collection[Digest], course: Course) -> None:
    """Read every object and compute its digest anew, whatever check and catalog say of it."""
    found = course.outcome.digests
    with course.step("read every object again") as timed:
        for digest in sorted(wanted):
            state = _digest(target, digest)
            found.checked += 1
            found.equal += state == digest
            found.missing += state is None
            found.different += state not in (digest, None)
            if state != digest:
                found.named.append(digest)
            course.tell(found.checked, len(wanted))
        timed.told = f"{plural(found.equal)} of {found.checked} as before"
    found.named = first(found.named)
    course.demand(
        found.are_equal,
        f"in the end {plural(found.missing)} were missing and {found.different} differed, of {found.checked}",
    )


def _digest(store: BlobStore, digest: Digest) -> str | None:
    """The digest of what is here under that name; None where there is nothing."""
    found = hashlib.sha256()
    try:
        with store.open(digest) as file:
            while chunk := file.read(_PIECE):
                found.update(chunk)
    except BlobMissing:
        return None
    except NodeError:
        return ""
    return found.hexdigest()
