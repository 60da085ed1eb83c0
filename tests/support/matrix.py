"""Studies of every standing at one site, callers of every role, and each door as a way to ask the same.

Brno decides. Prague is a member that sent a study, has another one, and whose people call at the doors for
nodes. Nobody answers in Prague, so that nothing is fetched while it is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from unittest.mock import patch
from urllib.parse import urlencode

import falcon.testing
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as FIND,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet as GET,
)
from sqlalchemy import update

from node.archive.mark import Marking
from node.catalog import schema
from node.catalog.resources import of_study
from node.catalog.selection import chosen
from node.domain.decision import Decision, Sensitivity, Standing
from node.domain.emergency import Emergency, Verdict
from node.domain.errors import Forbidden, Unknown, Withdrawn
from node.domain.grant import Grant
from node.domain.ids import AETitle, Digest, RuleName, SiteId, StudyUID
from node.domain.principal import DEVICE_ACTIONS, Action, Device, Kind, Principal
from node.domain.query import Key, Level, Query, Selection
from node.domain.rule import EVERYTHING, Rule
from node.identity.gate import Gate
from node.identity.persons import person
from node.identity.sessions import Vouched, form_token
from node.policy.decide import decide
from node.replication.accounting import Accounting
from node.replication.courier import Courier
from node.replication.habits import Habits
from services.portal.app import portal
from services.portal.visit import SESSION
from services.run import nodes
from services.run.dicom import handlers
from services.run.peers import peers_of
from services.run.reach import Reach
from services.run.web import doors_of
from services.soap.audit import Audit
from services.soap.framework.blob import Blob
from services.soap.records import Item
from services.soap.storage import QueryKey, QueryLevel, Storage
from tests.support import synthetic
from tests.support.doors import Door, Line, acquaint, opened, served, serving
from tests.support.face import served as listening

HOMES = {"brno": "https://idp.hospital-brno.test/idp", "prague": "https://idp.hospital-prague.test/idp"}
REFERS = str(synthetic.dataset().ReferringPhysicianName)
"""Who referred every study."""
PATIENCE = 0.2
"""Seconds that a caller waits for Prague, which does not answer."""
NOT_AUTHORIZED = 0x0124
"""PS3.7 Annex C.5.16: Refused: Not authorized."""
NOWHERE = Digest("ab" * 32)
"""Bytes that no site has."""
_numbers = count(1000)


class Answer(StrEnum):
    """What came of asking at a door."""

    YES = "yes"
    NO = "no"
    ABSENT = "allowed, and not here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A study to ask about."""

    name: str
    study: StudyUID
    number: int
    digest: Digest

    @property
    def whole(self) -> Selection:
        """All of it."""
        return Selection(studies=(self.study,))


@dataclass(kw_only=True)
class House:
    """Brno with its studies, and Prague to call from."""

    brno: Door
    prague: Door
    cases: Mapping[str, Case]
    callers: Mapping[str, Principal] = field(default_factory=dict)
    """As logins make them at Brno."""
    visitors: Mapping[str, Principal] = field(default_factory=dict)
    """The same at Prague."""

    def says(self, who: Principal, action: Action, case: Case) -> Decision:
        """What the policy decides, with what is known of caller and study now."""
        with self.brno.catalog.reading() as unit:
            policy = unit.policies.current()
            (resource,) = of_study(unit, case.study)
        return decide(Gate(self.brno.catalog).known(who), action, resource, policy=policy)

    def tidy(self, case: Case) -> None:
        """See that a study stands to Brno as before something of it was stored."""
        if case.name == Standing.FOREIGN:
            _be_elsewhere(self.brno, case)
        if case.name == Standing.RETRACTED and self.brno.site.archive.select(self.brno.operator, case.whole):
            _withdraw(self.brno, case)

    def another(self, case: Case) -> Dataset:
        """One more instance of a study, as nobody has sent it yet."""
        return dataset(case.number, case.name, number=next(_numbers))


def dataset(study: int, name: str, number: int = 1) -> Dataset:
    """An instance of the study of that case."""
    made = synthetic.dataset(study=study, patient=f"P{study}", number=number, side=4)
    if name == Standing.DEIDENTIFIED:
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = "removed for a test"
    return made


@contextmanager
def often_called() -> Iterator[None]:
    """Let one member call as often as all of its people together would in a day."""
    rates = ("MEMBER_RATE", "MEMBER_BURST", "ADDRESS_RATE", "ADDRESS_BURST")
    with patch.multiple(nodes, **dict.fromkeys(rates, 1e6)):
        yield


@contextmanager
def house() -> Iterator[House]:
    """A new house, with a study for each standing, and one that is marked."""
    with often_called(), served("brno") as brno, opened("prague") as prague:
        for door in (brno, prague):
            home = replace(door.site.home, scopes=(f"hospital-{door.name}.test",))
            settings = door.site.settings
            hurried = replace(settings.dicom, federation_timeout=PATIENCE)
            door.site = replace(door.site, home=home, settings=replace(settings, dicom=hurried))
        acquaint(brno, prague)
        names = [*Standing, "restricted"]
        cases = {name: _admitted(brno, prague, name, number) for number, name in enumerate(names, 1)}
        with serving(prague):
            _fetch(brno, prague)
        _be_elsewhere(brno, cases[Standing.FOREIGN])
        _withdraw(brno, cases[Standing.RETRACTED])
        restricted = cases["restricted"].study
        Marking(brno.catalog).mark(
            brno.operator, restricted, "of the staff", sensitivity=Sensitivity.RESTRICTED
        )
        made = House(brno=brno, prague=prague, cases=cases)
        made.callers, made.visitors = _people(brno, "brno"), _people(brno, "prague")
        device = Device(ae_title=AETitle("CT1"), host="127.0.0.1", port=104, may=DEVICE_ACTIONS)
        brno.site.devices.add(brno.operator, device)
        made.callers = {**made.callers, "modality": brno.device}
        yield made


def _admitted(brno: Door, prague: Door, name: str, number: int) -> Case:
    """Let the study arrive where such studies do."""
    made = dataset(number, name)
    door = prague if name in {Standing.SHARED, Standing.FOREIGN} else brno
    digest = door.admit((synthetic.offer_of(made), synthetic.encoded(made)))
    return Case(name=name, study=synthetic.study_uid(number), number=number, digest=digest)


def _fetch(brno: Door, prague: Door) -> None:
    """Bring what Prague has to Brno."""
    site = brno.site
    courier = Courier(
        prague.name,
        catalog=site.catalog,
        blobs=site.blobs,
        intake=site.intake,
        service=site.service,
        peers=peers_of(site),
        habits=Habits(streams=1, only_calls=True),
    )
    with closing(courier):
        for _ in range(20):
            courier.round()
            if not site.intake.prove(1000) and not brno.rows("SELECT 1 FROM want"):
                return
    raise AssertionError("Brno does not get what Prague has")


def _be_elsewhere(brno: Door, case: Case) -> None:
    """Leave of a study what is here before its bytes come: what is catalogued of it."""
    with brno.catalog.begin() as unit:
        digests = [one.digest for one in chosen(unit, case.whole)]
        for digest in digests:
            unit.change(update(schema.instance).where(schema.instance.c.digest == digest).values(held=0))
    for digest in digests:
        brno.site.blobs.remove(digest)


def _withdraw(brno: Door, case: Case) -> None:
    brno.site.archive.retract(brno.operator, case.whole, "wrong patient")


def _people(brno: Door, home: str) -> dict[str, Principal]:
    """A person of each role and of none, who has referred, and one with a second factor; by what they are."""
    roles = sorted(brno.site.policies.current().roles.keys() - {"modality"})
    named = {role: (role, "") for role in roles}
    named |= {
        "who referred": ("referring physician", REFERS),
        "radiologist, second factor": ("radiologist", ""),
    }
    return {"nobody": _person("nobody", home)} | {
        called: _granted(brno, _person(called, home), role, referring)
        for called, (role, referring) in named.items()
    }


def _person(called: str, home: str) -> Principal:
    name = "".join(letter for letter in called if letter.isalpha())
    return person(
        issuer=HOMES[home],
        name=f"{name}@hospital-{home}.test",
        site=SiteId(home),
        display=called.title(),
        mfa="second factor" in called,
    )


def _granted(brno: Door, who: Principal, role: str, referring: str) -> Principal:
    """The person, once two administrators have agreed on the role."""
    given = Grant(issuer=who.issuer, name=who.name, role=role, referring=referring)
    number = brno.site.grants.give(brno.operator, given).id
    brno.site.grants.approve(replace(brno.operator, name="colleague"), number)
    return who


# the doors of the node, as the command line and every face open them


def _passed(ask: Callable[[], object], *, absent: Answer = Answer.NO) -> Answer:
    """Whether a door let somebody pass; `absent` is what it means that there is no such thing behind it."""
    try:
        ask()
    except (Forbidden, Withdrawn):
        return Answer.NO
    except Unknown:
        return absent
    return Answer.YES


Answers = dict[Action, Answer]
Ask = Callable[[Case], Answers]
"""Asks for all that a door offers of one study."""


@contextmanager
def at_archive(house: House, who: Principal) -> Iterator[Ask]:
    """The doors of the node itself."""
    yield lambda case: _through_archive(house, who, case)


def _through_archive(house: House, who: Principal, case: Case) -> Answers:
    site, made = house.brno.site, house.another(case)
    accounting = Accounting(site.catalog, site.audit_book, peers_of(site))
    ours = Device(ae_title=AETitle("WS9"), host="127.0.0.1", port=104)
    rule = Rule(name=RuleName("all"), match=EVERYTHING.matches[0])
    return {
        Action.QUERY: _found(house, who, case),
        Action.RETRIEVE: _selected(house, who, case),
        Action.AMEND: _amended(house, who, case),
        Action.ADMINISTER: _passed(lambda: site.devices.add(who, ours, replace=True)),
        Action.FEDERATE: _passed(lambda: site.rules.add(who, rule, replace=True)),
        Action.GRANT: _passed(lambda: site.grants.all(who)),
        Action.AUDIT: _passed(lambda: accounting.who(who, study=case.study, everywhere=False)),
        Action.REVIEW: _passed(lambda: site.emergencies.review(who, _opened(house, case), Verdict.JUSTIFIED)),
        Action.STORE: _passed(
            lambda: site.archive.admit(who, synthetic.offer_of(made), [synthetic.encoded(made)])
        ),
    }


def _found(house: House, who: Principal, case: Case) -> Answer:
    keys = (Key(tag=0x0020000D, vr="UI", value=case.study),)
    with suppress(Forbidden):
        rows = house.brno.site.archive.search(who, Query(level=Level.STUDY, keys=keys))
        if any(case.study in row for row in rows.rows):
            return Answer.YES
    return Answer.NO


def _selected(house: House, who: Principal, case: Case) -> Answer:
    with suppress(Forbidden):
        if house.brno.site.archive.select(who, case.whole):
            return Answer.YES
    return Answer.NO


def _amended(house: House, who: Principal, case: Case) -> Answer:
    """Marks the study; one that was withdrawn can be restored alone, and is withdrawn again."""
    if case.name == Standing.RETRACTED:
        answer = _passed(lambda: house.brno.site.archive.restore(who, case.whole, "a test"))
        if answer is Answer.YES:
            _withdraw(house.brno, case)
        return answer
    marking = Marking(house.brno.catalog)
    return _passed(lambda: marking.mark(who, case.study, "a test", consent={"teaching": True}))


def _opened(house: House, case: Case) -> int:
    """An emergency access of somebody else, to be reviewed."""
    with house.brno.catalog.begin() as unit:
        opened = Emergency(issuer="x", name="y", study=case.study, reason="urgent", until=unit.now)
        return unit.emergencies.add(opened).id


# DIMSE


@contextmanager
def at_dimse(house: House, who: Principal) -> Iterator[Ask]:
    """A workstation at which the person has logged in, or a modality."""
    if who.kind is Kind.PERSON:
        who = replace(who, device="WS1", may=DEVICE_ACTIONS)
    site, got = house.brno.site, list[str]()
    storage = build_context(CTImageStorage, ExplicitVRLittleEndian)
    storage.scu_role = storage.scp_role = True
    offered = handlers(site, Reach(site, peers_of(site)))
    with listening(offered, [build_context(FIND), build_context(GET), storage], principal=who) as port:
        entity = AE(ae_title="WS1")
        for sop_class in (FIND, GET, CTImageStorage):
            entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
        association = entity.associate(
            "127.0.0.1",
            port,
            ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, lambda event: got.append("one") or 0x0000)],
        )
        assert association.is_established
        yield lambda case: _through_association(house, association, got, case)
        association.release()


def _through_association(house: House, association: Association, got: list[str], case: Case) -> Answers:
    got.clear()
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", case.study
    found = [identifier for _, identifier in association.send_c_find(wanted, FIND) if identifier]
    statuses = [status.Status for status, _ in association.send_c_get(wanted, GET)]
    made = house.another(case)
    synthetic.part10(made)
    stored = association.send_c_store(made).Status
    return {
        Action.QUERY: Answer.YES if found else Answer.NO,
        Action.RETRIEVE: _gotten(case, got, statuses[-1]),
        Action.STORE: Answer.YES if stored == 0 else Answer.NO,
    }


def _gotten(case: Case, got: list[str], status: int) -> Answer:
    if got:
        return Answer.YES
    failed_elsewhere = case.name == Standing.FOREIGN and status not in {NOT_AUTHORIZED, 0x0000}
    return Answer.ABSENT if failed_elsewhere else Answer.NO


# SOAP and the data plane, for people of Prague; of what is elsewhere they have nothing to give


@contextmanager
def at_soap(house: House, who: Principal) -> Iterator[Ask]:
    """The services for nodes, called by Prague on behalf of its person."""
    with Line(house.prague, house.brno, principal=who) as line:
        yield lambda case: _through_services(house, line, case)


def _through_services(house: House, line: Line, case: Case) -> Answers:
    made = synthetic.part10(house.another(case))
    content = Blob(lambda: iter([made]), len(made), "application/dicom")
    given = {
        Action.QUERY: _searched(line, case),
        Action.RETRIEVE: _passed(lambda: line.call(Storage.get_object, digest=case.digest)),
        Action.STORE: _passed(lambda: line.call(Storage.put_object, content=content)),
        Action.ADMINISTER: _passed(lambda: line.call(Storage.remove, digest=NOWHERE), absent=Answer.YES),
        Action.AUDIT: _passed(lambda: line.call(Audit.get_disclosures, study=(case.study,))),
    }
    return _here(case, given)


def _searched(line: Line, case: Case) -> Answer:
    key = QueryKey(tag="0020000D", vr="UI", value=case.study)
    with suppress(Forbidden):
        answer = line.call(Storage.search, level=QueryLevel.STUDY, key=(key,))
        return Answer.YES if case.study in str(answer) else Answer.NO
    return Answer.NO


@contextmanager
def at_transfer(house: House, who: Principal) -> Iterator[Ask]:
    """The data plane: a ticket in the name of the person, and the bytes by it."""
    with Line(house.prague, house.brno, principal=who) as line:
        yield lambda case: _through_tickets(house, line, case)


def _through_tickets(house: House, line: Line, case: Case) -> Answers:
    made = synthetic.part10(house.another(case))
    name = Digest(hashlib.sha256(made).hexdigest())
    got, stored = Answer.NO, Answer.NO
    with suppress(Forbidden):
        ticket = line.call(Storage.prepare_to_get, digest=(case.digest,)).ticket
        got = Answer.YES if line.blob(ticket, case.digest)[0] == 200 else Answer.NO
    with suppress(Forbidden):
        ticket = line.call(Storage.prepare_to_put, item=(Item(digest=name, size=len(made)),)).ticket
        line.put(ticket, {name: made})
        stored = Answer.YES if line.call(Storage.put_done, ticket=ticket) else Answer.NO
    return _here(case, {Action.RETRIEVE: got, Action.STORE: stored})


def _here(case: Case, given: Answers) -> Answers:
    """Without the bytes of what is elsewhere, which a site does not give on."""
    return {
        action: answer
        for action, answer in given.items()
        if action is not Action.RETRIEVE or case.name != Standing.FOREIGN
    }


# the portal


class Browser:
    """The browser of a person who has logged in at the portal of Brno."""

    def __init__(self, house: House, who: Principal) -> None:
        doors = doors_of(house.brno.site)
        self._client = falcon.testing.TestClient(portal(doors, idle_minutes=30))
        self._url = doors.about.url
        self._token, _ = doors.sessions.begin(who, Vouched())

    def shows(self, method: str, path: str, **fields: str) -> Answer:
        """Whether a page is shown, or a form is taken."""
        host = self._url.partition("//")[2]
        content = "application/x-www-form-urlencoded"
        page = self._client.simulate_request(
            method,
            path,
            protocol="https",
            host=host,
            headers={"Host": host, "Origin": self._url, "Content-Type": content},
            cookies={SESSION: self._token},
            body=urlencode(fields | {"token": form_token(self._token)}) if method == "POST" else "",
        )
        assert page.status_code in {200, 303, 403, 404}, f"{method} {path} answers {page.status}"
        return Answer.YES if page.status_code in {200, 303} else Answer.NO


@contextmanager
def at_portal(house: House, who: Principal) -> Iterator[Ask]:
    """The pages of the portal, in the browser of somebody who has logged in."""
    browser = Browser(house, who)
    yield lambda case: _through_pages(house, browser, case)


def _through_pages(house: House, browser: Browser, case: Case) -> Answers:
    number = str(_opened(house, case))
    return {
        Action.QUERY: browser.shows("GET", f"/studies/{case.study}"),
        Action.RETRIEVE: browser.shows("POST", f"/studies/{case.study}/open"),
        Action.AUDIT: browser.shows("POST", "/audit", study=case.study, here="1"),
        Action.REVIEW: browser.shows("POST", "/reviews", number=number, verdict="justified"),
    }
