"""People log in: a radiologist of one site opens a study that only the other one has."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Final

from node.audit.record import Deed
from services.cli.demo.asking import deeds, head
from services.cli.demo.corpus import REFERRER
from services.cli.demo.idp.houses import House
from services.cli.demo.idp.people import BRNO, PHYSICIAN, PRAGUE, RADIOLOGIST, RESEARCHER, Hospital, Person
from services.cli.demo.stage import At, Stage
from services.cli.demo.visitor import Visitor

PORTAL_CERTIFICATE: Final = "keys/web.crt"


def consult(stage: Stage) -> None:
    """A radiologist of Brno reads a study of Prague; a researcher may not."""
    story, brno, prague = stage.story, stage.brno, stage.prague
    story.step("8. A radiologist logs in at the portal of Brno and opens a study that only Prague has.")
    stage.providers.start()
    for at, house in product((brno, prague), stage.providers.houses):
        _believe(stage, at, house)
    story.sent(prague.scanner.store(stage.files.consulted))
    before = head(prague)
    visitor = _visitor(stage)
    _log_in(stage, visitor, brno, BRNO, RADIOLOGIST)
    _open_study(stage, visitor)
    _who_it_was(stage, before)
    _own_patients_only(stage)
    _nobody_else(stage)
    stage.konzilium("rule", "remove", prague.node.directory, "ct")
    story.typed("rule remove prague ct                   (everything is copied again)")
    story.claim(stage.come_to_rest(), "both sites are in step again")


def _believe(stage: Stage, at: At, house: House) -> None:
    """A site believes an identity provider and gives its people their roles; that one knows the portal."""
    directory, hospital = at.node.directory, house.hospital
    pin = ("--file", house.metadata, "--fingerprint", house.fingerprint)
    stage.konzilium("idp", "add", directory, house.folder.name, *pin)
    stage.konzilium("login", "metadata", directory, "--output", house.place_of_portal(at.node.name))
    for person in hospital.people:
        options = ("--referring", REFERRER) if person is PHYSICIAN else ()
        given = ("--issuer", hospital.entity, *options)
        stage.konzilium("grant", "add", directory, hospital.principal(person), person.role, *given)
    for grant in stage.konzilium.json("grant", "list", directory):
        if grant["state"] == "waiting":
            _second_opinion(at, grant["id"])


def _second_opinion(at: At, grant: int) -> None:
    """Some roles need two persons: for the demonstration, another administrator agrees."""
    at.site.grants.approve(replace(at.site.operator(), name="second-administrator"), grant)


def _visitor(stage: Stage) -> Visitor:
    return Visitor([at.node.directory / PORTAL_CERTIFICATE for at in (stage.brno, stage.prague)])


def _log_in(stage: Stage, visitor: Visitor, at: At, hospital: Hospital, person: Person) -> None:
    """Choose the hospital at the portal, and the person at the hospital."""
    visitor.open(at.node.portal)
    stage.story.say(f"   {visitor.url}")
    visitor.follow(hospital.english)
    visitor.send("/login", person=person.name)
    visitor.send("/saml/acs")
    stage.story.claim(
        visitor.url == f"{at.node.portal}/" and visitor.has(hospital.principal(person)),
        f"{at.node.name.title()} knows {hospital.principal(person)}, {person.role}, "
        f"by {hospital.english} and keeps no password",
    )


def _open_study(stage: Stage, visitor: Visitor) -> None:
    study, patient = stage.files.consulted[0].study, stage.files.consulted[0].patient
    visitor.open("/studies")
    visitor.send("/studies", id=patient)
    links = [link for link in visitor.page.iter("a") if link.get("href", "").endswith(f"/studies/{study}")]
    stage.story.claim(len(links) == 1, "the search asks all sites and finds the study at Prague")
    visitor.open(f"/studies/{study}")
    visitor.send("/open")
    count = len(stage.files.consulted)
    stage.story.claim(
        visitor.has(f"Opened: {count} of {count} images are here"),
        "the images come from Prague, whose own policy has agreed to this person",
    )


def _who_it_was(stage: Stage, before: int) -> None:
    """What Prague has written down of the person, whom it has never seen."""
    study, name = stage.files.consulted[0].study, BRNO.principal(RADIOLOGIST)
    found = [deed for deed in deeds(stage.prague, before) if deed.study == study and name in deed.who]
    stage.story.claim(bool(found), "the audit of Prague names the person:")
    for line in sorted({_line(deed) for deed in found}):
        stage.story.say(f"        {line}")


def _line(deed: Deed) -> str:
    return f"{deed.display}, {BRNO.principal(RADIOLOGIST)} of {deed.issuer}, from {deed.via}: {deed.event}"


def _own_patients_only(stage: Stage) -> None:
    """A physician of Prague finds the one study of a patient whom he or she has referred."""
    visitor = _visitor(stage)
    _log_in(stage, visitor, stage.prague, PRAGUE, PHYSICIAN)
    visitor.open("/studies")
    visitor.send("/studies", modality="CT")
    found = {link.get("href", "") for link in visitor.page.iter("a") if "/studies/" in link.get("href", "")}
    stage.story.claim(
        found == {f"/studies/{stage.phantom}"},
        "of all CT studies Prague shows its physician that of the patient whom he or she has referred",
    )


def _nobody_else(stage: Stage) -> None:
    """A researcher of Prague does not see it, although it lies there."""
    visitor, study = _visitor(stage), stage.files.consulted[0].study
    _log_in(stage, visitor, stage.prague, PRAGUE, RESEARCHER)
    visitor.open(f"/studies/{study}")
    stage.story.claim(
        not visitor.has(stage.files.consulted[0].patient) and visitor.has("Reference number"),
        "Prague does not show it to its own researcher, who may see de-identified studies only",
    )
