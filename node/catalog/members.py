"""Members as rows: the other sites, their certificates, invitations, and how it went with them lately."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import SiteId
from node.domain.member import Contact, Member, Standing
from node.domain.rule import Terms

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_member, _certificate, _contact, _invitation = (
    table.c for table in (schema.member, schema.member_certificate, schema.contact, schema.invitation)
)
_PUT = Statement(insert(schema.member).prefix_with("OR REPLACE", dialect="sqlite"))
_FIND = Statement(select(schema.member).where(_member.site == bindparam("site")))
_ALL = Statement(select(schema.member).order_by(_member.site))
_DROP = Statement(delete(schema.member).where(_member.site == bindparam("of")))
_BY_FINGERPRINT = Statement(
    select(_certificate.site).where(_certificate.fingerprint == bindparam("fingerprint"))
)
_CERTIFICATES = Statement(
    select(_certificate.pem, _certificate.fingerprint)
    .where(_certificate.site == bindparam("site"))
    .order_by(_certificate.fingerprint)
)
_SHOWN = Statement(
    select(_certificate.fingerprint, _member.standing)
    .where(_certificate.site == _member.site)
    .order_by(_certificate.fingerprint)
)
_ADD_CERTIFICATE = Statement(insert(schema.member_certificate).prefix_with("OR IGNORE", dialect="sqlite"))
_DROP_CERTIFICATES = Statement(delete(schema.member_certificate).where(_certificate.site == bindparam("of")))
_CONTACT = Statement(select(schema.contact).where(_contact.site == bindparam("site")))
_PUT_CONTACT = Statement(insert(schema.contact).prefix_with("OR REPLACE", dialect="sqlite"))
_INVITE = Statement(insert(schema.invitation))
_INVITATION = Statement(select(schema.invitation).where(_invitation.id == bindparam("id")))
_INVITATIONS = Statement(select(schema.invitation).order_by(_invitation.expires_at))
_SAVE_INVITATION = Statement(
    update(schema.invitation)
    .where(_invitation.id == bindparam("which"))
    .values(attempts=bindparam("tried"), state=bindparam("to"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An invitation that was made out: its secret is kept as a hash only."""

    id: str
    site: SiteId
    secret: str
    """SHA-256 of token secret and code."""
    expires_at: int
    attempts: int = 0
    state: str = "open"
    """`open`, then `used`, `expired` or `spoiled` (too many wrong codes)."""
    options: Mapping[str, Any]


class MemberList:
    """The other sites of the federation."""

    def __init__(self, unit: Unit) -> None:
        """The members within a unit of work."""
        self._unit = unit

    def put(self, member: Member) -> None:
        """Write what is known of a member, in place of what was known before."""
        self._unit.run(
            _PUT,
            site=member.site,
            descriptor=member.descriptor,
            version=member.version,
            url=member.url,
            ae_title=member.ae_title,
            standing=member.standing,
            introduced_by=member.introduced_by,
            reason=member.reason,
            export=json.dumps(member.export.told()),
            accept=json.dumps(member.accept.told()),
            gives=json.dumps(member.gives.told()),
            takes=json.dumps(member.takes.told()),
        )
        self._unit.run(_DROP_CERTIFICATES, of=member.site)
        for pem, fingerprint in zip(member.certificates, member.fingerprints, strict=True):
            self._unit.run(_ADD_CERTIFICATE, fingerprint=fingerprint, site=member.site, pem=pem)

    def drop(self, site: SiteId) -> None:
        """Forget a member."""
        self._unit.run(_DROP, of=site)
        self._unit.run(_DROP_CERTIFICATES, of=site)

    def find(self, site: SiteId) -> Member | None:
        """The member of that name."""
        row = self._unit.run(_FIND, site=site).fetchone()
        return self._member(row) if row else None

    def all(self) -> Sequence[Member]:
        """All members by name."""
        return [self._member(row) for row in self._unit.run(_ALL).fetchall()]

    def active(self) -> Sequence[Member]:
        """The members with whom this site exchanges."""
        return [member for member in self.all() if member.is_active]

    def by_fingerprint(self, fingerprint: str) -> Member | None:
        """The member that may show the certificate of that fingerprint."""
        row = self._unit.run(_BY_FINGERPRINT, fingerprint=fingerprint).fetchone()
        return self.find(SiteId.trusted(row[0])) if row else None

    def shown(self) -> Sequence[tuple[str, str]]:
        """Every certificate that a member may show: its fingerprint, with the standing of the member."""
        return self._unit.run(_SHOWN).fetchall()

    def contact(self, site: SiteId) -> Contact:
        """How it went with a member lately."""
        row = self._unit.run(_CONTACT, site=site).fetchone()
        if row is None:
            return Contact(site=site)
        _, heard_at, head, epoch, terms, error, failed_at, _heads, skew, rtt = row
        return Contact(
            site=site,
            heard_at=heard_at,
            head=head,
            epoch=epoch,
            terms=terms,
            error=error,
            failed_at=failed_at,
            skew=skew,
            rtt=rtt,
        )

    def heads(self, site: SiteId) -> dict[str, Any]:
        """The ends of journal and audit ledger that a member told last: evidence against rewriting."""
        row = self._unit.run(_CONTACT, site=site).fetchone()
        heads: dict[str, Any] = json.loads(row[7]) if row and row[7] else {}
        return heads

    def save_contact(self, contact: Contact, heads: Mapping[str, Any] | None = None) -> None:
        """Write how it went with a member."""
        kept = self.heads(contact.site) if heads is None else heads
        self._unit.run(
            _PUT_CONTACT,
            site=contact.site,
            heard_at=contact.heard_at,
            head=contact.head,
            epoch=contact.epoch,
            terms=contact.terms,
            error=contact.error,
            failed_at=contact.failed_at,
            heads=json.dumps(kept) if kept else "",
            skew=contact.skew,
            rtt=contact.rtt,
        )

    def invite(self, invitation: Invitation) -> None:
        """Keep an invitation."""
        self._unit.run(
            _INVITE,
            id=invitation.id,
            site=invitation.site,
            secret=invitation.secret,
            expires_at=invitation.expires_at,
            attempts=invitation.attempts,
            state=invitation.state,
            options=json.dumps(dict(invitation.options)),
        )

    def invitation(self, invitation_id: str) -> Invitation | None:
        """The invitation of that name."""
        row = self._unit.run(_INVITATION, id=invitation_id).fetchone()
        return _invitation_of(*row) if row else None

    def invitations(self) -> Sequence[Invitation]:
        """All invitations, the first to expire first."""
        return [_invitation_of(*row) for row in self._unit.run(_INVITATIONS).fetchall()]

    def save_invitation(self, invitation: Invitation) -> None:
        """Write the state of an invitation."""
        self._unit.run(_SAVE_INVITATION, which=invitation.id, tried=invitation.attempts, to=invitation.state)

    def _member(self, row: tuple[Any, ...]) -> Member:
        site, descriptor, version, url, ae_title, standing, introduced_by, reason, *terms = row
        shown = self._unit.run(_CERTIFICATES, site=site).fetchall()
        export, accept, gives, takes = (_terms(text) for text in terms)
        return Member(
            site=SiteId.trusted(site),
            descriptor=descriptor,
            certificates=tuple(pem for pem, _ in shown),
            fingerprints=tuple(fingerprint for _, fingerprint in shown),
            version=version,
            url=url,
            ae_title=ae_title,
            standing=Standing(standing),
            introduced_by=SiteId.trusted(introduced_by),
            reason=reason,
            export=export,
            accept=accept,
            gives=gives,
            takes=takes,
        )


def fingerprints(members: Iterable[Member]) -> frozenset[str]:
    """The fingerprints of all certificates that the members may show."""
    return frozenset(shown for member in members for shown in member.fingerprints)


def _terms(text: str) -> Terms:
    return Terms.read(json.loads(text)) if text else Terms()


def _invitation_of(
    invitation_id: str, site: str, secret: str, expires_at: int, attempts: int, state: str, options: str
) -> Invitation:
    return Invitation(
        id=invitation_id,
        site=SiteId.trusted(site),
        secret=secret,
        expires_at=expires_at,
        attempts=attempts,
        state=state,
        options=json.loads(options),
    )
