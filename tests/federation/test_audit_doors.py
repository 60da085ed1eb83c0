"""Every access and every refusal is in the audit record, at whichever door it was: none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from lxml import etree
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from node.audit.message import message, schema
from node.audit.participants import Source
from node.audit.record import Deed, Event, read
from node.domain.decision import patient_text
from node.domain.errors import NodeError
from node.domain.ids import AETitle
from node.domain.principal import Action, Device
from node.wiring import open_site
from services.cli.main import main
from services.dicom.entity import ApplicationEntity
from services.run.dicom import handlers
from services.run.peers import peers_of
from services.run.persons import persons_at_devices
from services.run.reach import Reach
from services.soap.audit import Audit
from services.soap.catalog import ReplicaCatalog
from services.soap.federation import Federation
from services.soap.framework.blob import Blob
from services.soap.recovery import Recovery
from services.soap.services import SERVICES
from services.soap.storage import Storage
from tests.support import synthetic
from tests.support.doors import Door, Line, acquaint, opened, served
from tests.support.federation import FederatedSite, federation, settle
from tests.support.neighbours import made
from tests.support.operations import OPEN, Method, Thing, everything, name_of, published
from tests.support.peers import free_port
from tests.support.sinks import sink

FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove
STUDY, PATIENT = synthetic.study_uid(1), "P0001"
SOURCE = Source(site="brno", ae_title="BRNO")

RECORDED: dict[Method, Event] = {
    Storage.search: Event.QUERY,
    Storage.list: Event.QUERY,
    Storage.prepare_to_get: Event.SENT,
    Storage.get_object: Event.SENT,
    Storage.put_object: Event.STORED,
    Storage.put_done: Event.REFUSED,
    Storage.search_federation: Event.REFUSED,
    Storage.remove: Event.REFUSED,
    ReplicaCatalog.describe: Event.QUERY,
    Federation.leave: Event.CONFIGURED,
    Recovery.start_scrub: Event.REFUSED,
    Recovery.rebuild: Event.REFUSED,
    Recovery.promote: Event.REFUSED,
    Recovery.demote: Event.REFUSED,
    Recovery.start_drill: Event.REFUSED,
    Recovery.drill_report: Event.REFUSED,
    Audit.get_disclosures: Event.AUDIT_USED,
}
"""Operations for members, and what the record tells of a call of each."""
BETWEEN_NODES: set[Method] = {
    Storage.stat,
    Storage.prepare_to_put,
    ReplicaCatalog.create_mappings,
    ReplicaCatalog.add_mappings,
    ReplicaCatalog.delete_mappings,
    ReplicaCatalog.query_mappings,
    ReplicaCatalog.bulk_query_mappings,
    ReplicaCatalog.mappings_exist,
    ReplicaCatalog.changes,
    ReplicaCatalog.changes_again,
    ReplicaCatalog.offer_changes,
    ReplicaCatalog.wanted,
    ReplicaCatalog.arrived,
    ReplicaCatalog.compare,
    Federation.members,
    Federation.metadata,
    Federation.heartbeat,
    Federation.consent,
    Federation.suspend,
    Federation.resume,
    Recovery.status,
    Recovery.findings,
    Recovery.verify_replicas,
    Recovery.repair_replica,
    Audit.exchange_heads,
    Audit.get_audit_heads,
    Audit.get_audit_proof,
    Audit.offer_audit_proof,
}
"""Operations by which nodes keep in step, or tell what was decided (and recorded) at the other one.

They show nobody's data to anybody, and are no access; what a ticket to put brings is recorded when it comes.
"""
BY_DEVICES = (Storage.search, Storage.list, Storage.prepare_to_get, Storage.get_object, Storage.put_object)
"""Operations that a device of a member causes."""
ABOUT_A_STUDY = (Storage.list, Storage.prepare_to_get, Storage.get_object)
"""Operations whose record names the study and the patient."""


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Door, Door]]:
    with served("brno") as brno, opened("prague") as prague:
        acquaint(brno, prague)
        yield brno, prague


@pytest.fixture(scope="module")
def thing(sites) -> Thing:
    """What is asked about."""
    brno, _ = sites
    digest = brno.admit(synthetic.instance(study=1, patient=PATIENT))
    size = brno.site.blobs.size(digest) or 0
    return Thing(uid=synthetic.instance_uid(1, 1, 1), study=STUDY, digest=digest, size=size)


def end(door: Door) -> int:
    with door.catalog.reading() as unit:
        return unit.audit.head().seq


@contextmanager
def recorded(door: Door) -> Iterator[list[Deed]]:
    """What is recorded meanwhile; each of it makes a valid message."""
    before, found = end(door), list[Deed]()
    yield found
    with door.catalog.reading() as unit:
        found += [read(record.deed) for record in unit.audit.after(before)]
    for deed in found:
        schema().assertValid(etree.fromstring(message(deed, 1_700_000_000_000_000, SOURCE)))


def asked(line: Line, method: Method, **values) -> None:
    """Call an operation, whatever comes of it."""
    try:
        line.call(method, **values)
    except NodeError:
        return


def test_no_operation_is_forgotten():
    assert set(RECORDED) | BETWEEN_NODES | set(OPEN) == published()
    assert not set(RECORDED) & BETWEEN_NODES


@pytest.mark.parametrize("method", everything(Thing(uid="1", study="1", digest="0" * 64)), ids=name_of)
def test_a_call_of_a_member_is_recorded_with_who_and_whose(sites, thing, method):
    brno, prague = sites
    values = everything(thing)[method]
    if method is Storage.put_object:
        data = synthetic.dataset(study=7, patient=PATIENT)
        content = synthetic.part10(data)
        values = {"content": Blob(lambda: iter([content]), len(content), "application/dicom")}
    if method is Recovery.promote:
        values = {**values, "in_place_of": "wien"}
    with Line(prague, brno, principal=prague.device if method in BY_DEVICES else None) as line:
        with recorded(brno) as found:
            asked(line, method, **values)
        if method in (Federation.suspend, Federation.leave, Federation.consent):
            acquaint(brno, prague)
    if method in BETWEEN_NODES:
        assert found == []
        return
    assert RECORDED[method] in {deed.event for deed in found}, found
    told = next(deed for deed in found if deed.event is RECORDED[method])
    assert told.who.endswith("@prague")
    assert told.refused is (told.event is Event.REFUSED)
    if method in ABOUT_A_STUDY:
        assert (told.study, told.patient) == (STUDY, patient_text(PATIENT, ""))


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)
def test_a_stranger_is_turned_away_and_recorded_once_a_minute(sites, thing, service):
    brno, prague = sites
    values = everything(thing)
    method = next(one for one in values if one in vars(service).values())
    with Line(prague, brno, anonymous=True) as line, recorded(brno) as found:
        for _ in range(3):
            asked(line, method, **values[method])
    (told,) = found
    assert (told.event, told.address, told.refused) == (Event.REFUSED, "127.0.0.1", True)
    assert told.reason


def test_bytes_without_a_ticket_are_refused_and_recorded(sites, thing):
    brno, prague = sites
    with Line(prague, brno) as line, recorded(brno) as found:
        assert line.pack("forged", [thing.digest])[0] >= 400
        assert line.blob("forged", thing.digest)[0] >= 400
    (told,) = found
    assert (told.event, told.who, told.what) == (Event.REFUSED, "unknown:prague", "get bytes")


@contextmanager
def dicom(door: Door) -> Iterator[int]:
    """The door for devices, as the node opens it; its port."""
    site, port = door.site, free_port()
    settings = replace(site.settings.dicom, host="127.0.0.1", port=port, tls_port=None)
    entity = ApplicationEntity(
        settings,
        site.devices,
        handlers(site, Reach(site, peers_of(site))),
        {},
        persons=persons_at_devices(site),
        person_ca=None,
    )
    entity.start()
    try:
        yield port
    finally:
        entity.stop(grace=2.0)


@contextmanager
def association(port: int, title: str = "CT1", called: str = "BRNO"):
    entity = AE(ae_title=title)
    for model in (FIND, GET, MOVE, CTImageStorage, StorageCommitmentPushModel, Verification):
        entity.add_requested_context(model, ExplicitVRLittleEndian)
    made = entity.associate(
        "127.0.0.1",
        port,
        ae_title=called,
        ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000)],
    )
    yield made
    if made.is_established:
        made.release()


def identifier() -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = "STUDY"
    made.StudyInstanceUID = STUDY
    return made


def image() -> Dataset:
    made = synthetic.dataset(study=1, patient=PATIENT)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def commitment() -> Dataset:
    made, item = Dataset(), Dataset()
    made.TransactionUID = "1.2.826.0.1.3680043.8.498.77"
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        CTImageStorage,
        synthetic.instance_uid(1, 1, 1),
    )
    made.ReferencedSOPSequence = [item]
    return made


DIMSE = {
    "C-STORE": (lambda made: made.send_c_store(image()), Event.STORED, "kept"),
    "C-FIND": (lambda made: list(made.send_c_find(identifier(), FIND)), Event.QUERY, STUDY),
    "C-GET": (lambda made: list(made.send_c_get(identifier(), GET)), Event.SENT, "1 instances"),
    "C-MOVE": (
        lambda made: list(made.send_c_move(identifier(), "SINK", MOVE)),
        Event.SENT,
        "1 instances SINK",
    ),
    "N-ACTION": (
        lambda made: made.send_n_action(
            commitment(), 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
        ),
        Event.QUERY,
        "commitment of 1 instances",
    ),
}
"""What a device can ask for, what the record calls it, and what it says."""


@pytest.mark.parametrize("service", DIMSE)
def test_what_a_device_does_is_recorded_and_what_it_may_not_is_too(sites, thing, service):
    brno, _ = sites
    act, event, what = DIMSE[service]
    with sink([build_context(CTImageStorage)]) as there, dicom(brno) as port:
        for title, its_port, may in (
            ("CT1", 104, frozenset({Action.STORE, Action.QUERY, Action.RETRIEVE})),
            ("NONE", 104, frozenset()),
            ("SINK", there.port, frozenset()),
        ):
            device = Device(ae_title=AETitle(title), host="127.0.0.1", port=its_port, may=may)
            brno.site.devices.add(brno.operator, device, replace=True)
        with recorded(brno) as found, association(port) as made:
            act(made)
        with recorded(brno) as refused, association(port, "NONE") as made:
            act(made)
    told = next(deed for deed in found if deed.event is event)
    assert (told.who, told.address) == ("device:CT1@brno", "127.0.0.1")
    assert what in told.what or told.what.endswith("known")
    if service != "N-ACTION":
        assert (told.study, told.patient) == (STUDY, patient_text(PATIENT, ""))
    assert [(deed.event, deed.who) for deed in refused] == [(Event.REFUSED, "device:NONE@brno")]
    assert refused[0].reason


def test_an_association_that_is_turned_away_is_recorded(sites):
    brno, _ = sites
    device = Device(ae_title=AETitle("ELSEWHERE"), host="192.0.2.9", port=104)
    brno.site.devices.add(brno.operator, device, replace=True)
    with dicom(brno) as port, recorded(brno) as found:
        for title in ("STRANGER", "STRANGER", "ELSEWHERE"):
            with association(port, title) as made:
                assert made.is_rejected
    told = {deed.who: deed for deed in found}
    assert set(told) == {"unknown:STRANGER", "unknown:ELSEWHERE"}, "the same is not written twice"
    assert {deed.what for deed in found} == {"associate"}
    assert all(deed.refused and deed.address == "127.0.0.1" and deed.reason for deed in found)


def test_an_echo_touches_nobody_and_leaves_no_record(sites):
    brno, _ = sites
    device = Device(ae_title=AETitle("CT1"), host="127.0.0.1", port=104)
    brno.site.devices.add(brno.operator, device, replace=True)
    with dicom(brno) as port, recorded(brno) as found, association(port) as made:
        assert made.send_c_echo().Status == 0x0000
    assert found == []


def test_what_goes_to_media_and_comes_from_there_is_recorded_as_that(tmp_path: Path):
    made(tmp_path, "brno")
    (tmp_path / "in").mkdir()
    synthetic.write_study(tmp_path / "in", 2, study=1, patient=PATIENT)
    folder = str(tmp_path / "brno")
    for words in (
        ["import", folder, str(tmp_path / "in")],
        ["export", folder, "--to", str(tmp_path / "out"), "--study", STUDY],
        ["audit", "who", folder, "--patient", PATIENT],
    ):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    with open_site(tmp_path / "brno") as site, site.catalog.reading() as unit:
        found = [read(record.deed) for record in unit.audit.after()]
    assert [deed.event for deed in found] == [Event.IMPORT, Event.IMPORT, Event.EXPORT, Event.AUDIT_USED]
    assert {deed.patient for deed in found} == {patient_text(PATIENT, "")}
    assert {deed.study for deed in found[:3]} == {STUDY}


def test_what_a_site_puts_at_another_is_in_the_record_of_both():
    with federation("brno", "prague", callable=lambda name: name == "prague") as (brno, prague):
        brno.admit(synthetic.instance(study=1, patient=PATIENT))
        settle(brno, prague)
        given = [deed for deed in deeds_of(brno) if deed.event is Event.SENT]
        taken = [deed for deed in deeds_of(prague) if deed.event is Event.STORED]
    (sent,), (stored,) = given, taken
    assert (sent.who, sent.what) == ("node:prague@prague", "1 instances to prague")
    assert stored.who == "node:brno@brno"
    for deed in (sent, stored):
        assert (deed.study, deed.patient) == (STUDY, patient_text(PATIENT, ""))


def deeds_of(site: FederatedSite) -> list[Deed]:
    with site.catalog.reading() as unit:
        return [read(record.deed) for record in unit.audit.after()]
