"""Who can log in at the demonstration: four people of two hospitals, and what these say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with an account at one of the two hospitals."""

    name: str
    """The account, which comes before the scope in eduPersonPrincipalName."""
    display: str
    affiliation: str
    role: str
    """The role that both sites grant for the demonstration."""
    does: str
    """What that means, in words for the page on which one chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """A hospital of the demonstration: for whom its identity provider speaks."""

    site: str
    scope: str
    english: str
    czech: str
    people: tuple[Person, ...]

    @property
    def entity(self) -> str:
        """The entity ID of its identity provider."""
        return f"https://demonstration.{self.scope}/idp"

    def principal(self, person: Person) -> str:
        """The name by which a person is known everywhere (eduPersonPrincipalName)."""
        return f"{person.name}@{self.scope}"

    def person(self, name: str) -> Person | None:
        """The person with that account."""
        return next((person for person in self.people if person.name == name), None)


RADIOLOGIST: Final = Person(
    name="radiologist",
    display="Demo Radiologist, Brno",
    affiliation="employee",
    role="radiologist",
    does="reads images to diagnose, here and at the other site",
)
STEWARD: Final = Person(
    name="steward",
    display="Demo Steward, Brno",
    affiliation="staff",
    role="data steward",
    does="keeps patients and studies in order, and sees no more of the images than that needs",
)
PHYSICIAN: Final = Person(
    name="physician",
    display="Demo Physician, Prague",
    affiliation="employee",
    role="referring physician",
    does="sees the studies of patients whom he or she has referred",
)
RESEARCHER: Final = Person(
    name="researcher",
    display="Demo Researcher, Prague",
    affiliation="faculty",
    role="researcher",
    does="works with de-identified data sets only",
)
BRNO: Final = Hospital(
    site="brno",
    scope="hospital-brno.test",
    english="Demonstration hospital Brno",
    czech="Ukázková nemocnice Brno",
    people=(RADIOLOGIST, STEWARD),
)
PRAGUE: Final = Hospital(
    site="prague",
    scope="hospital-prague.test",
    english="Demonstration hospital Prague",
    czech="Ukázková nemocnice Praha",
    people=(PHYSICIAN, RESEARCHER),
)
HOSPITALS: Final[Mapping[str, Hospital]] = MappingProxyType(
    {hospital.site: hospital for hospital in (BRNO, PRAGUE)}
)
