"""An archive in memory, for tests of the DICOM face: the doors, without store and catalog."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.commitment import Reason, Vouched, Wanted
from node.domain.errors import BlobMissing, UnknownDestination
from node.domain.ids import (
    UID,
    AETitle,
    Digest,
    InstanceUID,
    SeriesUID,
    SiteId,
    SOPClassUID,
    StudyUID,
    TransferSyntaxUID,
)
from node.domain.instance import Instance
from node.domain.principal import Device, Kind, Principal
from node.domain.query import Query, Row, Rows, Selection
from tests.support.synthetic import part10

SCU = Principal(kind=Kind.DEVICE, name="SCU", site=SiteId("brno"), address="127.0.0.1")


@dataclass(slots=True)
class FakeFile:
    """An open stored file."""

    fd: int
    offset: int
    size: int


@dataclass(slots=True)
class FakeArchive:
    """Instances in a folder; rows of a query are computed from their data sets."""

    folder: Path
    instances: list[Instance] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    owed: dict[UID, Sequence[Wanted]] = field(default_factory=dict)
    done: list[tuple[UID, str]] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    rows: Iterator[Row] | None = None
    """Given instead of the rows that would be found."""

    def keep(self, dataset: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> Instance:
        """Put an instance into the folder."""
        path = self.folder / dataset.SOPInstanceUID
        path.write_bytes(part10(dataset, transfer_syntax))
        instance = Instance(
            uid=InstanceUID(dataset.SOPInstanceUID),
            series=SeriesUID(dataset.SeriesInstanceUID),
            study=StudyUID(dataset.StudyInstanceUID),
            sop_class=SOPClassUID(dataset.SOPClassUID),
            transfer_syntax=TransferSyntaxUID(transfer_syntax),
            digest=Digest(sha256(path.read_bytes()).hexdigest()),
            size=path.stat().st_size,
        )
        self.instances.append(instance)
        self.datasets.append(dataset)
        return instance

    def search(self, principal: Principal, query: Query) -> Rows:
        """One row per instance whose text attributes match."""
        self.queries.append(query)
        tags = tuple((key.tag, key.vr) for key in query.keys if key.vr != "SQ")
        return Rows(tags, self.rows if self.rows is not None else self._found(query, tags))

    def _found(self, query: Query, tags: Sequence[tuple[int, str]]) -> Iterator[Row]:
        for dataset in self.datasets:
            values = {tag: str(dataset[tag].value) if tag in dataset else None for tag, _ in tags}
            wanted = [key for key in query.keys if key.value]
            if all(_matches(values.get(key.tag), key.value) for key in wanted):
                yield tuple(values[tag] for tag, _ in tags)

    def select(self, principal: Principal, selection: Selection, *, destination: str = "") -> list[Instance]:
        """The instances of a selection."""
        return [
            instance
            for instance in self.instances
            if (not selection.studies or instance.study in selection.studies)
            and (not selection.series or instance.series in selection.series)
            and (not selection.instances or instance.uid in selection.instances)
        ]

    @contextmanager
    def open(self, instance: Instance) -> Iterator[FakeFile]:
        """Open the file of an instance."""
        path = self.folder / instance.uid
        if not path.exists():
            raise BlobMissing(instance.digest)
        fd = os.open(path, os.O_RDONLY)
        try:
            yield FakeFile(fd, _offset(path), path.stat().st_size)
        finally:
            os.close(fd)

    def request_commitment(self, principal: Principal, transaction: UID, wanted: Sequence[Wanted]) -> None:
        """Owe a report."""
        self.owed[transaction] = wanted

    def vouch(self, wanted: Sequence[Wanted]) -> Vouched:
        """Vouch for what is in the folder."""
        classes = {instance.uid: instance.sop_class for instance in self.instances}
        held, failed = [], []
        for one in wanted:
            if one.instance not in classes:
                failed.append((one, Reason.NO_SUCH_INSTANCE))
            elif classes[one.instance] != one.sop_class:
                failed.append((one, Reason.CLASS_CONFLICT))
            else:
                held.append(one)
        return Vouched(held=tuple(held), failed=tuple(failed))

    def commitment_done(self, transaction: UID, device: str) -> None:
        """Owe it no longer."""
        del self.owed[transaction]
        self.done.append((transaction, device))


@dataclass(slots=True)
class FakeDevices:
    """A device list."""

    devices: dict[str, Device] = field(default_factory=dict)

    def add(self, ae_title: str, port: int, certificate: str | None = None) -> Device:
        """Put a device of this machine on the list."""
        device = Device(ae_title=AETitle(ae_title), host="127.0.0.1", port=port, certificate=certificate)
        self.devices[ae_title] = device
        return device

    def find(self, ae_title: AETitle) -> Device:
        """Find a device by its AE title."""
        if ae_title not in self.devices:
            raise UnknownDestination(ae_title)
        return self.devices[ae_title]


def encoded(path: Path) -> bytes:
    """The data set of a Part 10 file as it is on disk."""
    return path.read_bytes()[_offset(path) :]


def _offset(path: Path) -> int:
    """Where the data set starts: after the preamble and the file meta information."""
    with path.open("rb") as file:
        head = file.read(144)
    assert head[128:132] == b"DICM"
    return 144 + int.from_bytes(head[140:144], "little")


def _matches(held: str | None, wanted: str) -> bool:
    if held is None:
        return False
    return any(fnmatch.fnmatchcase(held.upper(), one.upper()) for one in wanted.split("\\"))
