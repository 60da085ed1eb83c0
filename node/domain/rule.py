"""Rules: what goes where, and how many copies; and the terms on which sites exchange at all.

A `Match` says which instances are meant, by traits that the catalog holds of each of them. A `Rule` says at
which sites a match is owed; `Terms` say what one site gives another, or takes from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from node.domain.errors import Rejected
from node.domain.ids import SiteId

DAY = 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What rules can ask about an instance."""

    study: str
    modality: str = ""
    ae_title: str = ""
    """Of the device that sent it; empty where it came otherwise."""
    body_part: str = ""
    taken_at: int = 0
    """Microseconds since 1970: the study date, or the arrival where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which instances are meant: every condition that is given has to hold; without any, all are."""

    modalities: tuple[str, ...] = ()
    ae_titles: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    younger_than: int | None = None
    """Days since the study."""
    older_than: int | None = None

    def __contains__(self, traits: Traits) -> bool:
        """Whether traits without regard to age match."""
        return self.holds(traits, now=traits.taken_at)

    def holds(self, traits: Traits, *, now: int) -> bool:
        """Whether an instance is meant, at the time `now` in microseconds since 1970."""
        age = (now - traits.taken_at) / DAY
        return (
            _is_one_of(traits.modality, self.modalities)
            and _is_one_of(traits.ae_title, self.ae_titles)
            and _is_one_of(traits.body_part, self.body_parts)
            and (self.younger_than is None or age < self.younger_than)
            and (self.older_than is None or age >= self.older_than)
        )

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == Match()

    def told(self) -> dict[str, Any]:
        """As JSON values; conditions that are not given are left out."""
        values = {
            "modalities": list(self.modalities),
            "ae_titles": list(self.ae_titles),
            "body_parts": list(self.body_parts),
            "younger_than": self.younger_than,
            "older_than": self.older_than,
        }
        return {name: value for name, value in values.items() if value not in (None, [])}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The match that `told` told.

        Raises:
            Rejected: a condition is unknown, so that ignoring it would give away too much.
        """
        unknown = set(values) - {"modalities", "ae_titles", "body_parts", "younger_than", "older_than"}
        if unknown:
            raise Rejected(f"the conditions {', '.join(sorted(unknown))} are not known here")
        return cls(
            modalities=tuple(values.get("modalities", ())),
            ae_titles=tuple(values.get("ae_titles", ())),
            body_parts=tuple(values.get("body_parts", ())),
            younger_than=values.get("younger_than"),
            older_than=values.get("older_than"),
        )

    def __str__(self) -> str:
        """In words, as the command line shows it."""
        parts = [
            *([f"modality {','.join(self.modalities)}"] if self.modalities else []),
            *([f"from {','.join(self.ae_titles)}"] if self.ae_titles else []),
            *([f"body part {','.join(self.body_parts)}"] if self.body_parts else []),
            *([f"younger than {self.younger_than} days"] if self.younger_than is not None else []),
            *([f"older than {self.older_than} days"] if self.older_than is not None else []),
        ]
        return ", ".join(parts) or "everything"


def _is_one_of(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one site gives another, or takes from it: what one of the matches means; without any, nothing."""

    matches: tuple[Match, ...] = ()

    def allow(self, traits: Traits, *, now: int) -> bool:
        """Whether an instance is covered."""
        return any(match.holds(traits, now=now) for match in self.matches)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is held back."""
        return any(match.is_everything for match in self.matches)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is covered."""
        return not self.matches

    def told(self) -> list[dict[str, Any]]:
        """As JSON values."""
        return [match.told() for match in self.matches]

    @classmethod
    def read(cls, values: list[dict[str, Any]]) -> Self:
        """The terms that `told` told."""
        return cls(matches=tuple(Match.read(value) for value in values))

    def __str__(self) -> str:
        """In words, as the command line shows them."""
        return "; ".join(str(match) for match in self.matches) or "nothing"


EVERYTHING = Terms(matches=(Match(),))
NOTHING = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Where copies of what a site has received are owed."""

    name: str
    match: Match = Match()
    sites: tuple[SiteId, ...] = ()
    """Those that may hold copies; without any, all members."""
    copies: int | None = None
    """At how many of the sites, besides the one that received it; None for all of them."""

    def holders(self, study: str, members: tuple[SiteId, ...]) -> tuple[SiteId, ...]:
        """The members that owe a copy of a study: the same answer at every site, spread evenly."""
        eligible = [site for site in members if not self.sites or site in self.sites]
        if self.copies is None or self.copies >= len(eligible):
            return tuple(sorted(eligible))
        ranked = sorted(eligible, key=lambda site: sha256(f"{study} {site}".encode()).digest())
        return tuple(sorted(ranked[: self.copies]))

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "match": self.match.told(),
            "sites": list(self.sites),
            "copies": self.copies,
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The rule that `told` told."""
        return cls(
            name=values["name"],
            match=Match.read(values["match"]),
            sites=tuple(SiteId.trusted(site) for site in values["sites"]),
            copies=values["copies"],
        )


EVERYWHERE = Rule(name="default")
"""What holds while a site has no rules: a copy at every member that takes it."""
