"""What this site says of itself to the others: its metadata, written anew when something in them changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from node import __version__
from node.catalog.unit import Unit
from node.domain.errors import BadSignature, Malformed, Unauthenticated
from node.domain.ids import AETitle, SiteId
from node.domain.member import Member
from node.domain.principal import Kind, Principal
from node.identity import certificates, keys, metadata
from node.identity.metadata import Descriptor
from node.journal.entry import Entry, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """This site, as its settings and its keys describe it."""

    site: SiteId
    key_folder: Path
    """The folder with the key of the node."""
    url: str | None
    """Where others call it; None where it only calls."""
    ae_title: AETitle
    organization: str = ""
    """The name of the organization; the site's, if empty."""
    scopes: tuple[str, ...] = ()
    """The domains for whose people it speaks, besides its own name."""

    def key(self) -> keys.NodeKey:
        """The key in use now.

        Raises:
            UnusableKey: it cannot be read.
        """
        return keys.load(self.key_folder)

    def certificates(self) -> Sequence[certificates.Certificate]:
        """The certificates that it may show: the one in use first, then the next or the previous one.

        Raises:
            UnusableKey: one of them cannot be read.
        """
        return keys.published(self.key_folder)

    def announced(self, unit: Unit) -> tuple[str, Descriptor] | None:
        """The metadata that the others were told last; None before the first time."""
        fact = self.announcement(unit)
        descriptor = read(fact.says["descriptor"]) if fact else None
        return (fact.says["descriptor"], descriptor) if fact and descriptor else None

    def announcement(self, unit: Unit) -> Entry | None:
        """The fact by which they were told: that of the highest version, as the others go by it, too."""
        own = [
            fact
            for fact in unit.journal.about(f"site {self.site}")
            if fact.kind is Fact.MEMBER and fact.origin == self.site
        ]
        return max(own, key=lambda fact: (_version(fact), fact.stamp), default=None)

    def announce(self, unit: Unit) -> str:
        """Tell the others how it is now, if they know it otherwise; the metadata that hold.

        Raises:
            UnusableKey: the key of the node cannot be used.
        """
        known = self.announced(unit)
        current = self._describe(known[1].version if known else 0)
        if known and known[1] == current:
            return known[0]
        version = known[1].version + 1 if known else 1
        text = metadata.written(self._describe(version), self.key(), unit.now)
        unit.journal.append(Fact.MEMBER, {"site": self.site, "descriptor": text})
        return text

    def _describe(self, version: int) -> Descriptor:
        return Descriptor(
            site=self.site,
            url=self.url,
            certificates=tuple(certificate.pem for certificate in self.certificates()),
            ae_title=self.ae_title,
            organization=self.organization or self.site,
            scopes=(self.site, *self.scopes),
            version=version,
            software=f"konzilium {__version__}",
        )


def demand_scope(member: Member, principal: Principal) -> None:
    """See that a member speaks for the people of its own domains only, as its metadata list them.

    Raises:
        Unauthenticated: the person is of another domain.
    """
    if principal.kind is not Kind.PERSON:
        return
    domain = principal.name.rpartition("@")[2].lower()
    described = read(member.descriptor)
    if described is None or domain not in {scope.lower() for scope in described.scopes}:
        raise Unauthenticated(f"{member.site} does not speak for people of {domain}")


def _version(announcement: Entry) -> int:
    """The version of the metadata that were announced; the later ones of two are the valid ones."""
    descriptor = read(announcement.says["descriptor"])
    return descriptor.version if descriptor else 0


@lru_cache(maxsize=512)
def read(text: str, signers: tuple[str, ...] | None = None) -> Descriptor | None:
    """Metadata of a node, if they are signed with one of these certificates (one of its own, if None).

    Each of the certificates names the site: nobody can be announced with the certificate of another.
    """
    try:
        descriptor = metadata.read(text, signers)
        named = {certificates.known(pem).name for pem in descriptor.certificates}
    except (Malformed, BadSignature):
        return None
    return descriptor if named == {descriptor.site} else None
