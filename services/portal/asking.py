"""What a form of the search page asks the archives, and what they answer, in the words of DICOM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, cast

from node.domain.errors import MalformedValue
from node.domain.principal import Principal
from node.domain.query import Key, Level, Query, Row
from node.replication.federated_search import FederatedSearch, Listed
from node.replication.site_answer import SiteAnswer

PATIENT: Final = {
    "name": (0x00100010, "PN"),
    "id": (0x00100020, "LO"),
    "issuer": (0x00100021, "LO"),
    "birth": (0x00100030, "DA"),
    "sex": (0x00100040, "CS"),
}
STUDY: Final = PATIENT | {
    "date": (0x00080020, "DA"),
    "time": (0x00080030, "TM"),
    "accession": (0x00080050, "SH"),
    "modalities": (0x00080061, "CS"),
    "referring": (0x00080090, "PN"),
    "description": (0x00081030, "LO"),
    "uid": (0x0020000D, "UI"),
    "images": (0x00201208, "IS"),
}
SERIES: Final = STUDY | {
    "modality": (0x00080060, "CS"),
    "title": (0x0008103E, "LO"),
    "part": (0x00180015, "CS"),
    "series": (0x0020000E, "UI"),
    "number": (0x00200011, "IS"),
    "count": (0x00201209, "IS"),
}
MOST: Final = 200
"""Studies that a page lists."""
LONGEST: Final = {"name": 64, "id": 64, "accession": 16, "modality": 16, "description": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One row of a result, by the names above."""

    site: str
    is_here: bool
    values: Mapping[str, str]

    def __getattr__(self, name: str) -> str:
        """The value of that name."""
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A result, and what came of asking each site."""

    hits: Sequence[Hit]
    answers: Sequence[SiteAnswer]

    @property
    def incomplete(self) -> Sequence[SiteAnswer]:
        """Sites of which something may be missing."""
        return [answer for answer in self.answers if not answer.is_whole]


def wanted(form: Mapping[str, str]) -> dict[str, str]:
    """The values of the search form that say something, ready to be matched.

    Raises:
        MalformedValue: one cannot be such a value.
    """
    keys = {}
    for name, longest in LONGEST.items():
        text = " ".join(form.get(name, "").split())
        if len(text) > longest or "\\" in text or not text.isprintable():
            raise MalformedValue(name, f"up to {longest} characters, without a backslash")
        if text:
            keys[name] = text
    since, until = (_date(form.get(name, "")) for name in ("since", "until"))
    if since or until:
        keys["date"] = f"{since}-{until}"
    return keys


def find_studies(
    search: FederatedSearch, principal: Principal, keys: Mapping[str, str], *, patience: float
) -> Answered:
    """The studies that match at any site, newest first as far as each site sorts them.

    Raises:
        Forbidden: the policy of this site says no.
        MalformedQuery: a value cannot be matched.
    """
    values = {
        "name": _name(keys.get("name", "")),
        "id": keys.get("id", ""),
        "accession": keys.get("accession", ""),
        "modalities": keys.get("modality", "").upper(),
        "description": f"*{keys['description']}*" if "description" in keys else "",
        "date": keys.get("date", ""),
    }
    answered = _ask(search, principal, Level.STUDY, STUDY, values, patience=patience, limit=MOST)
    hits = sorted(answered.hits, key=lambda hit: (hit.date, hit.time), reverse=True)
    return Answered(hits=hits, answers=answered.answers)


def find_series(search: FederatedSearch, principal: Principal, study: str, *, patience: float) -> Answered:
    """The series of a study at any site, by their numbers, each with the patient and the study.

    Raises:
        Forbidden: the policy of this site says no.
    """
    answered = _ask(search, principal, Level.SERIES, SERIES, {"uid": study}, patience=patience, limit=None)
    hits = sorted(answered.hits, key=lambda hit: (_number(hit.number), hit.series))
    return Answered(hits=hits, answers=answered.answers)


def _ask(
    search: FederatedSearch,
    principal: Principal,
    level: Level,
    shape: Mapping[str, tuple[int, str]],
    values: Mapping[str, str],
    *,
    patience: float,
    limit: int | None,
) -> Answered:
    keys = tuple(Key(tag=tag, vr=vr, value=values.get(name, "")) for name, (tag, vr) in shape.items())
    found = search.search(principal, Query(level=level, keys=keys, limit=limit), patience=patience)
    places = {tag: place for place, (tag, _) in enumerate(found.tags)}
    hits = []
    with closing(cast("_Closable", found.rows)):
        for one in found.rows:
            if one is not None:
                hits.append(_hit(one, shape, places))
    return Answered(hits=hits, answers=list(found.answers))


class _Closable(Iterator[Listed | None]):
    """The rows of a result, which are a generator."""

    def close(self) -> None:
        """End it."""


def _hit(one: Listed, shape: Mapping[str, tuple[int, str]], places: Mapping[int, int]) -> Hit:
    values = {name: _text(one.row, places.get(tag)) for name, (tag, _) in shape.items()}
    return Hit(site=one.site, is_here=one.is_here, values=values)


def _text(row: Row, place: int | None) -> str:
    cell = row[place] if place is not None else None
    return cell.replace("\\", ", ") if isinstance(cell, str) else ""


def _name(text: str) -> str:
    """A name as it was typed, family name first, as a key that matches more than it (PS3.4 C.2.2.2.4)."""
    if not text or set(text) & set("^*?="):
        return text
    return "*".join(text.replace(",", " ").split()) + "*"


def _date(text: str) -> str:
    """A date of a form as DICOM writes it.

    Raises:
        MalformedValue: it is none.
    """
    digits = text.strip().replace("-", "")
    if digits and not (len(digits) == 8 and digits.isascii() and digits.isdigit()):
        raise MalformedValue("date", "a day as 2026-01-31")
    return digits


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 1 << 31
