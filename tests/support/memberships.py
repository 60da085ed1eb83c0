"""Sites that know each other, without wires between them: facts are carried over by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.audit.record import read
from node.catalog.catalog import Catalog
from node.domain.ids import AETitle, SiteId
from node.domain.member import Member
from node.domain.principal import Kind, Principal
from node.identity import keys
from node.identity.handshake import Invited, Welcome
from node.identity.home import Home
from node.identity.invitations import Invitations
from node.identity.joining import Joining
from node.identity.members import Members, derive_members
from node.identity.rotation import Rotation
from node.journal.entry import FEDERATION
from tests.support.sites import Clock, fast_folder


@dataclass
class Node:
    """What one site has to do with the others."""

    site: SiteId
    catalog: Catalog
    home: Home
    clock: Clock
    share: bool = False

    def __post_init__(self) -> None:
        self.members = Members(self.catalog, self.home, share_with_new=self.share)
        self.invitations = Invitations(self.catalog, self.home)
        self.joining = Joining(self.catalog, self.home)
        self.rotation = Rotation(self.catalog, self.home)
        self.operator = Principal(kind=Kind.OPERATOR, name="technician", site=self.site)

    def standings(self) -> dict[str, str]:
        """How every other site stands here."""
        return {member.site: str(member.standing) for member in self.members.all()}

    def audited(self) -> list[str]:
        """What the audit ledger says, in order."""
        with self.catalog.reading() as unit:
            return [read(record.deed).what for record in unit.audit.after()]

    def hear(self, *others: Node) -> None:
        """Read the journals of these sites as far as they concern the federation."""
        for other in others:
            with other.catalog.reading() as unit:
                told = [fact for fact in unit.journal.after(0) if fact.kind in FEDERATION]
                head = unit.journal.head()
            with self.catalog.begin() as unit:
                for fact in told:
                    unit.journal.keep(fact)
                derive_members(unit)
            with other.catalog.begin() as unit:
                contact = unit.members.contact(self.site)
                unit.members.save_contact(contact, {"reached": {"1": head.seq}})


@contextmanager
def nodes(*names: str, **options: bool) -> Iterator[list[Node]]:
    """Sites that do not know each other yet, with one clock."""
    clock = Clock()
    with fast_folder() as folder:
        made = [make(Path(folder) / name, SiteId(name), clock, **options) for name in names]
        try:
            yield made
        finally:
            for node in made:
                node.catalog.close()


def make(folder: Path, site: SiteId, clock: Clock, **options: bool) -> Node:
    """A new site in that folder."""
    folder.mkdir()
    keys.make(folder / "keys", site=site, now=clock())
    catalog = Catalog(folder / "catalog.db", origin=site, clock=clock)
    home = Home(
        site=site,
        key_folder=folder / "keys",
        url=f"https://{site}.example:8443",
        ae_title=AETitle(site.upper()),
    )
    return Node(site=site, catalog=catalog, home=home, clock=clock, **options)


def join(inviter: Node, joiner: Node, *, confirmed: bool = True, invited: Invited | None = None) -> Member:
    """Let one site join on the invitation of another, over a wire that changes nothing."""
    invited = invited or inviter.invitations.invite(inviter.operator, joiner.site, confirmed=confirmed)
    return apply(inviter, joiner, invited, invited.code)[0]


def apply(inviter: Node, joiner: Node, invited: Invited, code: str) -> tuple[Member, Welcome]:
    """The same with a code that somebody typed."""
    attempt = joiner.joining.begin(joiner.operator, invited.token, code)
    offered = inviter.invitations.greet(invited.token.invitation, attempt.offer)
    welcome = inviter.invitations.accept(attempt.application(offered))
    return joiner.joining.finish(joiner.operator, attempt, offered, welcome), welcome
