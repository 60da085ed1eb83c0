"""A foreign archive over real associations: asked, sent to, fetched from, and in all its moods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from itertools import count

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, MRImageStorage

from node.domain.commitment import Wanted
from node.domain.errors import ForeignRefused, PeerUnreachable, Rejected, StoreFull
from node.domain.ids import UID, AETitle, InstanceUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.partner import Fetch, InstanceThere, Partner, Role
from node.domain.principal import Caller, Device, Principal
from node.domain.query import Selection
from node.partners.backup import Backup, answered
from node.partners.foreign import Offers
from node.partners.migrate import Manners, Migration
from node.partners.report import of_backup, of_migration
from node.partners.windows import Window
from services.dicom.associate import Requestor
from services.dicom.channel import Limits, Message
from services.dicom.commitment import N_ACTION_RQ, Commitment
from services.dicom.committed import Committed, encoded_for
from services.dicom.foreign import ForeignArchive
from services.dicom.messages import Field
from services.dicom.query import Find
from services.dicom.retrieve import Get, Move
from services.dicom.send import Sender
from services.dicom.store import StoreHandler
from tests.support import synthetic
from tests.support.dicom_door import MemoryDevices, serving
from tests.support.fake_archive import FakeDevices
from tests.support.peers import free_port
from tests.support.sites import OPERATOR, TestSite, device, site

PACS, HERE = AETitle("PACS"), AETitle("BRNO")
STUDY, SERIES = synthetic.study_uid(1), synthetic.series_uid(1, 1)


class Everybody(MemoryDevices):
    """Knows every caller, who may do everything."""

    def recognise(self, caller: Caller, asked: str) -> Principal:
        return device(str(caller.calling))


class Archive:
    """An archive of the same kind as ours, which plays the foreign one; its handlers can be replaced."""

    def __init__(self, there: TestSite) -> None:
        self.there = there
        self.devices = FakeDevices()
        archive = there.archive
        self.handlers: dict[int, Callable[[Message], None]] = {
            Field.C_FIND_RQ: Find(archive, PACS),
            Field.C_GET_RQ: Get(archive),
            Field.C_MOVE_RQ: Move(archive, self.devices, Sender(Requestor(ae_title=PACS))),
            Field.C_STORE_RQ: StoreHandler(archive),
            N_ACTION_RQ: Commitment(archive, grace=0.3),
        }


@pytest.fixture
def there() -> Iterator[Archive]:
    with site() as made:
        yield Archive(made)


@pytest.fixture
def here() -> Iterator[TestSite]:
    with site() as made:
        yield made


@contextmanager
def reached(there: Archive, here: TestSite, **options: object) -> Iterator[ForeignArchive]:
    """The foreign archive, served, as our node reaches it."""
    with serving(devices=Everybody(), handlers=there.handlers, ae_title=PACS) as entity:
        listed = Device(ae_title=PACS, host="127.0.0.1", port=entity.ports[0])
        foreign = ForeignArchive(
            Requestor(ae_title=HERE, timeout=5.0, patience=5.0),
            listed,
            here.archive,
            lambda offer, chunks: here.archive.admit(device(PACS), offer, chunks),
            **options,  # type: ignore[arg-type]
        )
        try:
            yield foreign
        finally:
            foreign.close()


def uids_of(where: TestSite) -> set[str]:
    return {row[0] for row in where.rows("SELECT uid FROM instance")}


def digests_of(where: TestSite) -> set[tuple[str, str]]:
    return set(where.rows("SELECT uid, digest FROM instance"))


def test_it_is_asked_for_studies_series_and_instances(there, here):
    for number in (1, 2, 3):
        there.there.admit(synthetic.instance(study=1, series=1 + number % 2, number=number))
    with reached(there, here) as foreign:
        assert foreign.offers() == Offers(find=True, move=True, get=True, commitment=True)
        told = []
        assert foreign.studies(Window(), told.append)
        assert [(one.uid, one.instances) for one in told] == [(STUDY, 3)]
        assert foreign.study(STUDY) == told[0]
        assert foreign.study(StudyUID("1.2.404")) is None
        assert {(one.uid, one.instances) for one in foreign.series(STUDY)} == {
            (SERIES, 1), (synthetic.series_uid(1, 2), 2),
        }  # fmt: skip
        (instance,) = foreign.instances(STUDY, SERIES)
        assert instance.uid == synthetic.instance_uid(1, 1, 2)
        assert instance.sop_class == "1.2.840.10008.5.1.4.1.1.2"


def test_no_attribute_that_names_a_patient_is_asked_for(there, here):
    asked: list[int] = []
    find = there.handlers[Field.C_FIND_RQ]

    class Watched(Find):
        def _answered(self, message: Message) -> int:
            from services.dicom import query

            identifier, _ = query.read_identifier(message, "1")
            asked.extend(key.tag for key in identifier.keys)
            return 0

    assert isinstance(find, Find)
    there.handlers[Field.C_FIND_RQ] = Watched(there.there.archive, PACS)
    with reached(there, here) as foreign:
        foreign.studies(Window(), lambda study: None)
        foreign.study(STUDY)
        foreign.series(STUDY)
        foreign.instances(STUDY, SERIES)
    assert asked and not [f"{tag:08x}" for tag in asked if tag >> 16 == 0x0010]


def test_enough_is_enough(there, here):
    for study in range(1, 30):
        there.there.admit(synthetic.instance(study=study))
    with reached(there, here) as foreign:
        told = []
        assert not foreign.studies(Window(), told.append, most=5)
        assert len(told) == 5
        assert len(foreign.series(STUDY)) == 1


@pytest.mark.parametrize("how", [Fetch.GET, Fetch.MOVE, Fetch.AUTO])
def test_everything_is_brought_byte_by_byte(there, here, how):
    for study in (1, 2):
        for content in synthetic.study(5, series=2, study=study):
            there.there.admit(content)
    there.there.admit(synthetic.secondary_capture(study=2, series=2, number=50))
    there.there.admit(synthetic.instance(study=2, series=2, number=51, sop_class=MRImageStorage))
    doors = {Field.C_STORE_RQ: StoreHandler(here.archive)}
    door = serving(devices=Everybody(), handlers=doors, ae_title=HERE)
    with door as opened, reached(there, here, fetch=how) as foreign:
        there.devices.devices[HERE] = Device(ae_title=HERE, host="127.0.0.1", port=opened.ports[0])
        assert migration(here, foreign).run()
    assert digests_of(here) == digests_of(there.there)
    told = of_migration(here.catalog, partner(Role.SOURCE))
    assert (told.moved.fetched, told.differences) == (12, ())


def partner(role: Role) -> Partner:
    return Partner(ae_title=PACS, roles=frozenset({role}))


def migration(here: TestSite, foreign: ForeignArchive) -> Migration:
    here.devices.add(OPERATOR, Device(ae_title=PACS, host="127.0.0.1", port=104))
    here.catalog.perform(lambda unit: unit.partners.put(partner(Role.SOURCE)))
    manners = Manners(today=date(2026, 3, 1), wait=here.clock.forward, patience=0)
    return Migration(here.catalog, partner(Role.SOURCE), foreign, manners)


def test_a_backup_is_sent_found_and_committed_over_the_same_association(there, here):
    for content in synthetic.study(4, series=2):
        here.admit(content)
    here.admit(synthetic.secondary_capture(study=2))
    with reached(there, here) as foreign:
        loop(here, foreign).soon()
    assert digests_of(there.there) == digests_of(here)
    assert of_backup(here.catalog, partner(Role.BACKUP)).committed == 5


def test_commitment_that_comes_by_the_door_is_taken(there, here):
    here.admit(synthetic.instance())
    reports = {Field.N_EVENT_REPORT_RQ: Committed(lambda *told: answered(here.catalog, *told))}
    later_only = Commitment(there.there.archive)
    later_only._waits = lambda channel: False  # type: ignore[method-assign]
    there.handlers[N_ACTION_RQ] = later_only
    with (
        serving(devices=Everybody(), handlers=reports, ae_title=HERE) as door,
        reached(there, here) as foreign,
    ):
        loop(here, foreign).soon()
        (job,) = there.there.archive.lease_jobs() or later(there.there)
        from node.archive.commitment import requested
        from services.dicom import commitment

        request = requested(job)
        listed = Device(ae_title=HERE, host="127.0.0.1", port=door.ports[0])
        vouched = there.there.archive.vouch(request.wanted)
        requestor = Requestor(ae_title=PACS)
        commitment.report(requestor, listed, request.transaction, vouched)
        with pytest.raises(Rejected):
            commitment.report(requestor, listed, UID("2.25.404"), vouched)
    assert of_backup(here.catalog, partner(Role.BACKUP)).committed == 1


def later(where: TestSite):
    """The jobs that are due after a while."""
    where.clock.forward(60)
    return where.archive.lease_jobs()


def loop(here: TestSite, foreign: ForeignArchive) -> Backup:
    here.devices.add(OPERATOR, Device(ae_title=PACS, host="127.0.0.1", port=104))
    here.catalog.perform(lambda unit: unit.partners.put(partner(Role.BACKUP)))
    numbers = count(1)
    return Backup(
        here.archive,
        here.catalog,
        partner(Role.BACKUP),
        foreign,
        OPERATOR,
        new_uid=lambda: UID(f"2.25.{next(numbers)}"),
    )


def chosen(here: TestSite, study: int = 1):
    return here.archive.select(OPERATOR, Selection(studies=(synthetic.study_uid(study),)))


@pytest.mark.parametrize(
    ("status", "taken"), [(0x0000, True), (0xB000, True), (0xC000, False), (0xA900, False), (0x0110, False)]
)
def test_what_the_partner_says_of_an_instance_is_what_is_told(there, here, status, taken):
    here.admit(synthetic.instance())
    there.handlers[Field.C_STORE_RQ] = lambda message: message.respond(status)
    with reached(there, here) as foreign:
        (answer,) = foreign.store(chosen(here))
    assert answer.taken is taken
    assert (f"{status:04X}" in answer.why) is (status != 0)


def test_a_partner_without_room_is_left_alone_for_now(there, here):
    here.admit(synthetic.instance())
    there.handlers[Field.C_STORE_RQ] = lambda message: message.respond(0xA700)
    with reached(there, here) as foreign, pytest.raises(PeerUnreachable, match="no room"):
        list(foreign.store(chosen(here)))


def test_what_the_partner_does_not_take_in_its_transfer_syntax_is_told_and_the_rest_is_sent(there, here):
    """The other side is one that accepts nothing but native syntaxes."""
    from pydicom.uid import ExplicitVRLittleEndian
    from pynetdicom import build_context

    from tests.support.sinks import sink

    here.admit(synthetic.instance(number=1))
    instances = chosen(here)
    odd = type(instances[0])(
        **{name: getattr(instances[0], name) for name in instances[0].__slots__}
        | {"transfer_syntax": TransferSyntaxUID(JPEGBaseline8Bit)}
    )
    with sink([build_context(instances[0].sop_class, ExplicitVRLittleEndian)]) as receiver:
        listed = Device(ae_title=PACS, host="127.0.0.1", port=receiver.port)
        foreign = ForeignArchive(Requestor(ae_title=HERE), listed, here.archive, lambda *_: None)  # type: ignore[arg-type, return-value]
        told = [answer.taken for answer in foreign.store([odd, instances[0]])]
        only = [answer.why for answer in foreign.store([odd])]
    assert told == [False, True]
    assert only == ["it takes this SOP class neither in its stored transfer syntax nor in another one"]


def test_bytes_that_are_gone_here_are_told_and_not_sent(there, here):
    here.admit(synthetic.instance())
    (instance,) = chosen(here)
    here.blobs.remove(instance.digest)
    with reached(there, here) as foreign:
        (answer,) = foreign.store([instance])
    assert not answer.taken and instance.digest in answer.why


def test_an_archive_that_does_not_know_us_as_a_destination_is_told_so_at_once(there, here):
    there.there.admit(synthetic.instance())
    with (
        reached(there, here, fetch=Fetch.MOVE) as foreign,
        pytest.raises(Rejected, match="does not know BRNO"),
    ):
        migration(here, foreign).run()


def test_what_our_archive_refuses_is_told_with_the_reason(there, here):
    there.there.admit(synthetic.instance())
    there.there.admit(synthetic.instance(number=2))

    def refuse(offer, chunks):
        if offer.instance == synthetic.instance_uid(1, 1, 1):
            raise ForeignRefused("this site", "the colour of it")
        return here.archive.admit(device(PACS), offer, chunks)

    with reached(there, here) as foreign:
        foreign._getter._admit = refuse
        told = foreign.fetch(STUDY, SERIES, foreign.instances(STUDY, SERIES), whole=True)
    assert uids_of(here) == {synthetic.instance_uid(1, 1, 2)}
    assert "the colour of it" in told.reasons[InstanceUID(synthetic.instance_uid(1, 1, 1))]
    assert told.failed == 1


def test_a_full_store_stops_the_fetching(there, here):
    for content in synthetic.study(3):
        there.there.admit(content)
    tried = []

    def full(offer, chunks):
        tried.append(offer)
        raise StoreFull("no bytes are free")

    with reached(there, here) as foreign:
        foreign._getter._admit = full
        with pytest.raises(StoreFull):
            foreign.fetch(STUDY, SERIES, foreign.instances(STUDY, SERIES), whole=True)
    assert len(tried) == 1


def test_only_what_is_missing_of_a_series_is_asked_for(there, here):
    for content in synthetic.study(120):
        there.there.admit(content)
    wanted = [InstanceThere(uid=synthetic.instance_uid(1, 1, number)) for number in range(1, 116)]
    with reached(there, here) as foreign:
        told = foreign.fetch(STUDY, SERIES, wanted, whole=False)
    assert uids_of(here) == {one.uid for one in wanted}
    assert told.completed == 115


def test_an_association_that_has_ended_meanwhile_is_opened_anew(there, here):
    there.there.admit(synthetic.instance())
    with reached(there, here) as foreign:
        assert foreign.study(STUDY)
        foreign._desk[0].channel.wire.socket.shutdown(2)
        assert foreign.study(STUDY)


@pytest.mark.parametrize("how", ["hangs up", "falls silent", "answers another question"])
def test_a_partner_that_breaks_a_conversation_is_out_of_reach(there, here, how):
    def broken(message: Message) -> None:
        message.dataset.drain()
        wire = message.channel.wire
        match how:
            case "hangs up":
                wire.socket.shutdown(2)
            case "falls silent":
                time.sleep(1.0)
            case _:
                message.command.elements[0x0110] = b"\x63\x00"  # type: ignore[index]
        message.respond(0)

    there.handlers[Field.C_FIND_RQ] = broken
    with reached(there, here) as foreign:
        foreign._patient = Requestor(ae_title=HERE, timeout=0.3, patience=2.0, limits=Limits())
        with pytest.raises(PeerUnreachable):
            foreign.study(STUDY)


@pytest.mark.parametrize(
    ("status", "told", "outcome"),
    [
        (0xFE00, 2, "a part"),
        (0xA700, 2, "a part"),
        (0xA700, 0, PeerUnreachable),
        (0xC000, 0, ForeignRefused),
        (0x0122, 0, ForeignRefused),
    ],
)
def test_how_a_query_ends_is_heeded(there, here, status, told, outcome):
    def some(message: Message) -> None:
        message.dataset.drain()
        for number in range(told):
            row = Dataset()
            row.StudyInstanceUID = row.SeriesInstanceUID = f"1.2.{number}"
            message.respond(0xFF00, identifier=encoded_for(message.context, row))
        message.respond(status)

    there.handlers[Field.C_FIND_RQ] = some
    with reached(there, here) as foreign:
        if isinstance(outcome, str):
            found = []
            assert not foreign.studies(Window(), found.append)
            assert len(found) == told
            with pytest.raises(PeerUnreachable, match="a part"):
                foreign.series(STUDY)
        else:
            with pytest.raises(outcome):
                foreign.studies(Window(), lambda study: None)


def test_a_study_whose_uid_is_none_makes_a_listing_incomplete(there, here):
    def strange(message: Message) -> None:
        message.dataset.drain()
        row = Dataset()
        row.add_new(0x0020000D, "UI", "not-a-uid")
        message.respond(0xFF00, identifier=encoded_for(message.context, row))
        message.respond(0)

    there.handlers[Field.C_FIND_RQ] = strange
    with reached(there, here) as foreign:
        assert not foreign.studies(Window(), lambda study: None)


def test_a_partner_that_refuses_commitment_has_copies_that_are_found_only(there, here):
    here.admit(synthetic.instance())
    there.handlers[N_ACTION_RQ] = lambda message: message.respond(0x0110)
    with reached(there, here) as foreign:
        loop(here, foreign).soon()
        with pytest.raises(ForeignRefused, match="status 0110"):
            foreign.commit(
                UID("2.25.1"),
                [Wanted(sop_class=SOPClassUID("1.2"), instance=InstanceUID("1.2.3"))],
            )
    told = of_backup(here.catalog, partner(Role.BACKUP))
    assert (told.found, told.committed) == (1, 0)


def test_nobody_at_home_is_out_of_reach(here):
    listed = Device(ae_title=PACS, host="127.0.0.1", port=free_port())
    foreign = ForeignArchive(Requestor(ae_title=HERE), listed, here.archive, lambda *_: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(PeerUnreachable):
        foreign.offers()
