"""The Federation service: how sites come to know each other, and what they tell each other about that.

Only `greet` and `join` are for strangers, who prove by the code of an invitation that they were invited.
What a member tells of its decisions (`suspend`, `resume`, `consent`) is noted for people to see; it changes
no decision of this site, and the facts themselves travel with the journals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from lxml import etree

from node.domain.errors import Expired, Rejected, Unauthenticated, UnknownMember
from node.domain.ids import SiteId
from node.domain.member import Standing
from node.domain.rule import Match, Terms
from node.identity.handshake import Application, Welcome
from node.identity.invitations import Invitations
from node.identity.members import Members
from node.journal.entry import Entry, Fact
from node.replication.peer import LONGEST_PAGE
from node.replication.service import Service as Doors
from services.soap.caller import Guest, guest
from services.soap.framework.endpoint import Environ
from services.soap.framework.model import Count, LongText, Many, ShortText, Text
from services.soap.framework.names import VERSIONS
from services.soap.framework.rate import Rate
from services.soap.framework.service import Call, Service, operation
from services.soap.news import SiteNews, news_of, written_news
from services.soap.records import HashText, KindText, SiteText

InvitationText = Annotated[
    str, Text(name="InvitationName", pattern="[0-9a-f]{32}", doc="The name of an invitation.")
]
OfferText = Annotated[
    str, Text(name="Offer", pattern="[0-9a-f]{512}", doc="An element of the 2048-bit group of RFC 3526.")
]
CodeText = Annotated[str, Text(name="Code", longest=64, doc="A code of DICOM, or an AE title.")]
Codes = Annotated[tuple[CodeText, ...], Many(up_to=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A fact of the journal of the inviter about a site, as it stands in the chain.

    Attributes:
        epoch: the epoch of the journal.
        seq: its number there.
        previous: the hash of the entry before.
        hash: its own.
        at: when it was stated, in microseconds since 1970.
        kind: what it states.
        payload: canonical JSON.
    """

    epoch: Count
    seq: Count
    previous: HashText
    hash: HashText
    at: Count
    kind: KindText
    payload: LongText


@dataclass(frozen=True, slots=True, kw_only=True)
class Admittance:
    """What an inviter answers to a site that proved the code.

    Attributes:
        metadata: of the inviter, signed (SAML EntityDescriptor).
        standing: active, or waiting until somebody at the inviter has confirmed.
        proof: that the inviter knows the code, too, and has said all this.
        statement: what the inviter says of the other members.
    """

    metadata: LongText
    standing: Standing
    proof: HashText
    statement: Annotated[tuple[Statement, ...], Many(up_to=LONGEST_PAGE)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """A site as this one sees it.

    Attributes:
        site: its name.
        standing: where it stands with this site.
        introduced_by: the site whose word brought it here.
        ae_title: by which DICOM devices know it.
        version: of its metadata.
        url: where it can be called; absent where it only calls.
    """

    site: SiteText
    standing: Standing
    introduced_by: SiteText
    ae_title: ShortText
    version: Count
    url: ShortText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Instances that are meant: every condition that is given has to hold; without any, all are.

    Attributes:
        modality: one of these modalities (0008,0060).
        ae_title: sent by one of these devices.
        body_part: one of these body parts (0018,0015).
        younger_than: fewer days since the study.
        older_than: so many days since the study, or more.
    """

    modality: Codes = ()
    ae_title: Codes = ()
    body_part: Codes = ()
    younger_than: Count | None = None
    older_than: Count | None = None


Conditions = Annotated[tuple[Condition, ...], Many(up_to=100)]


class Federation(Service):
    """Who is a member of the federation, and on which terms sites exchange."""

    name, path, version = "Federation", "federation", 1

    def __init__(self, doors: Doors, members: Members, invitations: Invitations) -> None:
        """A service of this site.

        Args:
            doors: what members may ask.
            members: the members of this site.
            invitations: what this site has handed out.
        """
        self._doors = doors
        self._members = members
        self._invitations = invitations

    @operation(result="offer", faults=(Unauthenticated,))
    def greet(self, call: Call, invitation: InvitationText, offer: OfferText) -> OfferText:
        """Begin to join: exchange what both sides need to prove that they know the code.

        Args:
            invitation: the name of the invitation, from its token.
            offer: of the invited site: the generator that token and code choose, to a secret power.

        Returns:
            The same of the inviter.
        """
        return self._invitations.greet(invitation, offer)

    @operation(result="admittance", faults=(Unauthenticated, Expired, Rejected))
    def join(
        self,
        call: Call,
        invitation: InvitationText,
        offer: OfferText,
        metadata: LongText,
        proof: HashText,
    ) -> Admittance:
        """Join the federation on an invitation of this site. May be repeated if the answer is lost.

        Args:
            invitation: the name of the invitation, from its token.
            offer: the one that was sent with `greet`.
            metadata: of the invited site, signed by itself (SAML EntityDescriptor).
            proof: that it knows the code, and means the same as this site by everything that was said.

        Returns:
            Who the inviter is, where the invited site stands with it, and who else is a member.
        """
        application = Application(invitation=invitation, offer=offer, metadata=metadata, proof=proof)
        return admittance_of(self._invitations.accept(application))

    @operation(result="done")
    def leave(self, call: Call, reason: ShortText | None = None) -> bool:
        """Say goodbye: the calling site leaves the federation.

        Args:
            reason: why, for people to read.

        Returns:
            True.
        """
        self._members.goodbye(guest(call).principal, reason or "")
        return True

    @operation(result="member")
    def members(self, call: Call) -> Annotated[tuple[MemberRecord, ...], Many(up_to=LONGEST_PAGE)]:
        """Say which sites are members, and where they stand with this one.

        Returns:
            All sites that this one knows, by name.
        """
        guest(call)
        return tuple(
            MemberRecord(
                site=member.site,
                standing=member.standing,
                introduced_by=member.introduced_by,
                ae_title=member.ae_title,
                version=member.version,
                url=member.url,
            )
            for member in self._members.all()
        )

    @operation(result="metadata", faults=(UnknownMember,))
    def metadata(self, call: Call, site: SiteText | None = None) -> LongText:
        """Give the signed metadata of a site.

        Args:
            site: which one; this one, if absent.

        Returns:
            A SAML EntityDescriptor, signed by the site itself.
        """
        guest(call)
        return self._members.metadata(SiteId.trusted(site) if site else None)

    @operation(result="news", faults=(Rejected,))
    def heartbeat(self, call: Call, news: SiteNews) -> SiteNews:
        """Exchange news: how far each side's journal goes, and how far the other has read it.

        Args:
            news: of the calling site.

        Returns:
            The same of this site.
        """
        return written_news(self._doors.heartbeat(guest(call).member, news_of(news)))

    @operation(result="done")
    def consent(self, call: Call, export: Conditions = (), accept: Conditions = ()) -> bool:
        """Tell what the calling site gives this one and takes from it now. It may be read at once.

        Args:
            export: what it gives; nothing, without any.
            accept: what it takes; nothing, without any.

        Returns:
            True.
        """
        site = guest(call).member.site
        self._members.heard(site, gives=read_terms(export), takes=read_terms(accept))
        return True

    @operation(result="done")
    def suspend(self, call: Call, reason: ShortText | None = None) -> bool:
        """Tell that the calling site has cut the link; only it can resume.

        Args:
            reason: why, for people to read.

        Returns:
            True.
        """
        self._members.cut_by(guest(call).member.site, reason or "")
        return True

    @operation(result="done")
    def resume(self, call: Call) -> bool:
        """Tell that the calling site has resumed the link.

        Returns:
            True.
        """
        self._members.heard(guest(call).member.site)
        return True


def let_strangers_join(
    authenticate: Callable[[etree._Element, Environ], Guest],
) -> Callable[[etree._Element, Environ], Guest | None]:
    """The same guard, but for the two operations by which a stranger joins; nobody is known there."""
    namespace = "urn:konzilium:federation:1"
    open_to_all = {f"{{{namespace}}}greet", f"{{{namespace}}}join"}

    def recognise(envelope: etree._Element, environ: Environ) -> Guest | None:
        bodies = [body for soap in VERSIONS for body in envelope.findall(soap.tag("Body"))]
        asked = [child.tag for body in bodies for child in body]
        if len(asked) == 1 and asked[0] in open_to_all:
            return None
        return authenticate(envelope, environ)

    return recognise


def limited(members: Rate, strangers: Rate) -> Callable[[Any, Environ], None]:
    """So many calls of each member, and of each address from which a stranger calls."""

    def limit(caller: Any, environ: Environ) -> None:
        if isinstance(caller, Guest):
            members.demand(caller.member.site)
        else:
            strangers.demand(str(environ.get("REMOTE_ADDR", "")))

    return limit


def admittance_of(welcome: Welcome) -> Admittance:
    """A welcome for the wire."""
    return Admittance(
        metadata=welcome.metadata,
        standing=welcome.standing,
        proof=welcome.proof,
        statement=tuple(
            Statement(
                epoch=fact.epoch,
                seq=fact.seq,
                previous=fact.previous,
                hash=fact.hash,
                at=fact.at,
                kind=fact.kind,
                payload=fact.payload,
            )
            for fact in welcome.facts
        ),
    )


def welcome_of(admittance: Admittance, inviter: SiteId) -> Welcome:
    """A welcome from the wire.

    Raises:
        Unauthenticated: it holds facts of a kind that no inviter sends.
    """
    try:
        facts = tuple(
            Entry(
                origin=inviter,
                epoch=one.epoch,
                seq=one.seq,
                at=one.at,
                kind=Fact(one.kind),
                payload=one.payload,
                previous=one.previous,
                hash=one.hash,
            )
            for one in admittance.statement
        )
    except ValueError:
        raise Unauthenticated(f"{inviter} sends facts that are not known here") from None
    return Welcome(
        metadata=admittance.metadata, standing=admittance.standing, facts=facts, proof=admittance.proof
    )


def written_terms(terms: Terms) -> tuple[Condition, ...]:
    """Terms for the wire."""
    return tuple(
        Condition(
            modality=match.modalities,
            ae_title=match.ae_titles,
            body_part=match.body_parts,
            younger_than=match.younger_than,
            older_than=match.older_than,
        )
        for match in terms.matches
    )


def read_terms(conditions: tuple[Condition, ...]) -> Terms:
    """Terms from the wire."""
    return Terms(
        matches=tuple(
            Match(
                modalities=one.modality,
                ae_titles=one.ae_title,
                body_parts=one.body_part,
                younger_than=one.younger_than,
                older_than=one.older_than,
            )
            for one in conditions
        )
    )
