"""Which keys a site had, now or before: what it has signed holds for as long as somebody keeps it."""

from __future__ import annotations

from node.catalog.unit import Unit
from node.domain.errors import Malformed
from node.domain.ids import SiteId
from node.identity.certificates import Certificate, known
from node.identity.home import read
from node.journal.entry import Fact


def certificates_ever(unit: Unit, site: SiteId) -> dict[str, Certificate]:
    """The certificates that a site has announced so far, by fingerprint.

    What it announced itself counts, and what those said of it whose word brought it here: this site, or the
    member that introduced it.
    """
    member = unit.members.find(site)
    credible = {site, unit.origin} | ({member.introduced_by} if member else set())
    listed: set[str] = set(member.certificates if member else ())
    for fact in unit.journal.about(f"site {site}"):
        if fact.kind is Fact.MEMBER and fact.origin in credible and isinstance(fact.says, dict):
            descriptor = read(str(fact.says.get("descriptor", "")))
            if descriptor is not None and descriptor.site == site:
                listed |= set(descriptor.certificates)
    return {one.fingerprint: one for one in map(_read, listed) if one is not None}


def _read(pem: str) -> Certificate | None:
    try:
        return known(pem)
    except Malformed:
        return None
