"""Whole sites in this process that call each other without a network: links that are cut, calls that break.

```
with federation("brno", "prague") as (brno, prague):
    brno.admit(instance())
    settle(brno, prague)
```

A site may be told to crash after so many of its writes (`FederatedSite.fuse`): before or after a commit, or
when a blob was kept. Whoever called it finds it unreachable; it comes back with what was committed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from node.archive.archive import Archive
from node.audit.heads import SignedHead
from node.audit.proof import Proof
from node.blobs.memory import MemoryStore
from node.domain.change import Changes, Cursor, News
from node.domain.errors import NodeError, NoWholeCopy, PeerUnreachable
from node.domain.ids import AETitle, Digest, InstanceUID, SiteId
from node.domain.instance import Admission, Description, Offer
from node.domain.job import Job, Task
from node.domain.member import Member, Standing
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.domain.replica import Replica
from node.domain.rule import EVERYTHING
from node.identity import keys
from node.identity.audit_book import AuditBook
from node.identity.home import Home
from node.identity.members import Members, derive_member, derive_members, state_consent, state_standing
from node.journal.entry import Fact
from node.recovery.brake import Brake
from node.recovery.check import Check
from node.recovery.relist import Relist
from node.recovery.repair import Repair
from node.recovery.roles import Roles, on_demoted
from node.replication import rules
from node.replication.audit_watch import AuditWatch
from node.replication.courier import Courier
from node.replication.dropping import Dropping
from node.replication.effects import Effects
from node.replication.habits import Habits
from node.replication.intake import Intake
from node.replication.passing_on import PassingOn
from node.replication.peer import Compared, Disclosed, Offered, Peer, Question, Range, TicketGrant
from node.replication.service import Service
from tests.support.fragile import Crash, FragileCatalog, FragileStore, SkewedClock
from tests.support.sites import Clock, fast_folder

T = TypeVar("T")


class Network:
    """Which site can call which, and what happens to calls on their way."""

    def __init__(self) -> None:
        self.sites: dict[str, FederatedSite] = {}
        self.cut: set[tuple[str, str]] = set()
        self.lose_replies: Callable[[], bool] = lambda: False
        self.loses: Callable[[str], bool] = lambda call: False
        """Whether the answer to a call of this name is lost."""
        self.meanwhile: Callable[[str, SiteId], None] = lambda call, called: None
        """What happens between a call's effect at the site that was called and its answer."""

    def sever(self, one: str, other: str) -> None:
        """Cut the link between two sites, both ways."""
        self.cut |= {(one, other), (other, one)}

    def mend(self, one: str, other: str) -> None:
        """Make the link between two sites whole again."""
        self.cut -= {(one, other), (other, one)}

    def heal(self) -> None:
        """Make every link whole again."""
        self.cut.clear()
        self.lose_replies = lambda: False
        self.loses = lambda call: False
        self.meanwhile = lambda call, called: None


@dataclass
class FederatedSite:
    """A whole site: stores, doors and couriers; what it is told stays when it is opened again."""

    name: SiteId
    folder: Path
    network: Network
    clock: Clock
    blobs: FragileStore = field(default_factory=FragileStore)
    callable: bool = True
    """Whether others can call it."""
    fuse: int = 0
    """It crashes at the write of this number from now on; 0 for never."""

    def __post_init__(self) -> None:
        self.blobs.burn = self.burn
        keys.make(self.folder / "keys", site=self.name, now=self.clock())
        self.open()

    @property
    def operator(self) -> Principal:
        return Principal(kind=Kind.OPERATOR, name="technician", site=self.name)

    @property
    def device(self) -> Principal:
        return Principal(kind=Kind.DEVICE, name="CT1", site=self.name, may=DEVICE_ACTIONS)

    def open(self) -> None:
        """Open the catalog from disk, as the next process does."""
        self.catalog = FragileCatalog(self.folder / "catalog.db", origin=self.name, clock=self.clock)
        self.catalog.burn = self.burn
        self.archive = Archive(
            self.blobs,
            self.catalog,
            quarantine_limit=1 << 20,
            owed=lambda unit, traits: unit.rules.desired(traits),
        )
        url = f"https://{self.name}.test:8443" if self.callable else None
        self.home = Home(
            site=self.name, key_folder=self.folder / "keys", url=url, ae_title=AETitle(self.name.upper())
        )
        self.members = Members(self.catalog, self.home)
        self.effects = Effects(self.blobs, derive_member)
        self.intake = Intake(self.catalog, self.blobs, self.effects)
        self.service = Service(self.catalog, self.blobs, self.intake, self.home)
        self.network.sites[self.name] = self

    def crash(self) -> None:
        """Leave everything as it is and open the catalog anew; nobody says goodbye to the old one."""
        self.fuse = 0
        self.open()

    def burn(self) -> None:
        """One more write, at which the site may crash."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crash(self.name)

    def admit(self, instance: tuple[Offer, bytes]) -> Admission:
        """Admit one instance as a device sends it."""
        offer, data = instance
        return self.archive.admit(self.device, offer, [data])

    def courier(self, site: str) -> Courier:
        """A courier to another site, as a new process makes it."""
        return Courier(
            SiteId(site),
            catalog=self.catalog,
            blobs=self.blobs,
            intake=self.intake,
            service=self.service,
            peers=self.peer,
            habits=Habits(streams=1, only_calls=not self.callable),
        )

    def peer(self, to: str, *, timeout: float | None = None) -> LocalPeer:
        """Another site, to be called."""
        return LocalPeer(self, self.network.sites[to])

    @property
    def audit_book(self) -> AuditBook:
        """What it signs of its audit record, and hears of others."""
        return AuditBook(self.catalog, self.home)

    @property
    def audit_watch(self) -> AuditWatch:
        """Looks at the audit records of others."""
        return AuditWatch(self.catalog, self.audit_book, self.peer, only_calls=not self.callable)

    @property
    def dropping(self) -> Dropping:
        """Gives up copies of this site."""
        return Dropping(self.catalog, self.blobs, self.peer, brake=self.brake)

    @property
    def roles(self) -> Roles:
        """Which part each site plays."""
        return Roles(self.catalog)

    @property
    def passing_on(self) -> PassingOn:
        """Gives up what a communication site has passed on, the day after."""
        return PassingOn(self.catalog, Dropping(self.catalog, self.blobs, self.peer), cache_days=1)

    @property
    def check(self) -> Check:
        """Compares catalog and disk; no writer is in the middle of anything, so it does not wait."""
        return Check(self.catalog, self.blobs, wait=lambda _: None)

    @property
    def brake(self) -> Brake:
        """Stops mass repair."""
        return Brake(self.catalog)

    @property
    def repair(self) -> Repair:
        """Mends copies of this site from those of others."""
        relist = Relist(self.catalog, self.blobs, self.archive)
        return Repair(self.catalog, self.blobs, self.peer, self.brake, relist)

    @property
    def node(self) -> Principal:
        """The node itself."""
        return Principal(kind=Kind.NODE, name=self.name, site=self.name)

    def work(self, many: int = 8) -> int:
        """Carry out jobs that are due, as the worker process does; how many were done."""
        jobs = self.archive.lease_jobs(many)
        return sum([self._carry_out(job) for job in jobs])

    def _carry_out(self, job: Job) -> bool:
        try:
            if job.kind is Task.COMPARE:
                uid, digest = job.key.split(" ")
                self.archive.compare(InstanceUID(uid), Digest(digest))
            elif job.kind is Task.RECONSIDER:
                rules.reconsider(self.catalog)
            elif job.kind is Task.STEP_DOWN:
                on_demoted(self.catalog, job.key)
            elif job.kind is Task.GIVE_UP:
                self.passing_on.round()
            elif job.kind is Task.REPAIR and not self.repair.heal(self.node, Digest(job.key)):
                raise NoWholeCopy(job.key)
        except NodeError as error:
            self.archive.job_failed(job, str(error))
            return False
        self.archive.job_done(job)
        return True

    def exchange(self) -> bool:
        """Call every member once and prove what came; whether anything went on."""
        more = False
        with self.catalog.reading() as unit:
            others = [member.site for member in unit.members.active()]
        for other in others:
            courier = self.courier(other)
            try:
                more |= courier.round()
            except NodeError:
                continue
            finally:
                courier.close()
        return bool(self.intake.prove(1000)) or more

    def rows(self, sql: str) -> list[tuple]:
        """What the catalog says to a question in SQL."""
        with self.catalog.reading() as unit:
            return [tuple(row) for row in unit._connection.exec_driver_sql(sql).fetchall()]


class LocalPeer(Peer):
    """Another site in this process: calls go through the same doors as those of the faces."""

    def __init__(self, caller: FederatedSite, called: FederatedSite) -> None:
        self.site = called.name
        self._caller = caller
        self._called = called

    def __enter__(self) -> LocalPeer:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def _service(self) -> tuple[Service, Member]:
        """The doors of the other site, once it has recognised the caller."""
        if (self._caller.name, self.site) in self._caller.network.cut or not self._called.callable:
            raise PeerUnreachable(self.site, "the link is cut")
        member = self._called.members.recognise(self._caller.home.key().fingerprint)
        return self._called.service, member

    def _came_back(self, call: str = "") -> None:
        network = self._caller.network
        network.meanwhile(call, self.site)
        if network.lose_replies() or network.loses(call):
            raise PeerUnreachable(self.site, "the answer was lost")

    def _call(self, name: str, door: Callable[[Service, Member], T]) -> T:
        """Open a door of the other site; where that crashes in the middle, it comes back without a word."""
        try:
            answer = door(*self._service())
        except Crash:
            self._called.crash()
            raise PeerUnreachable(self.site, "it crashed") from None
        self._came_back(name)
        return answer

    def heartbeat(self, news: News) -> News:
        return self._call("heartbeat", lambda service, member: service.heartbeat(member, news))

    def changes(self, after: Cursor, many: int) -> Changes:
        return self._call("changes", lambda service, member: service.changes(member, after, many))

    def again(self, origin: SiteId, epoch: int, gaps: Sequence[tuple[int, int]], many: int) -> Changes:
        return self._call("again", lambda service, member: service.again(member, origin, epoch, gaps, many))

    def offer(self, changes: Changes) -> int:
        return self._call("offer", lambda service, member: service.offer(member, changes))

    def wanted(self, many: int) -> TicketGrant:
        return self._call("wanted", lambda service, member: service.wanted(member, many))

    def prepare_to_get(self, digests: Sequence[Digest], principal: Principal | None = None) -> TicketGrant:
        asks = principal or Principal(kind=Kind.NODE, name=self._caller.name, site=self._caller.name)
        return self._call(
            "prepare_to_get", lambda service, member: service.prepare_to_get(member, asks, digests)
        )

    def describe(self, digests: Sequence[Digest]) -> Sequence[Description]:
        return self._call("describe", lambda service, member: service.describe(member, digests))

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        service, member = self._service()
        service.to_get(grant.ticket, member.site, digests)
        for digest in digests:
            self._came_back("fetch")
            if carry(digest, self._called.blobs, self._caller.blobs):
                yield digest

    def upload(self, grant: TicketGrant, digests: Sequence[Digest]) -> Sequence[Digest]:
        def put(service: Service, member: Member) -> Sequence[Digest]:
            service.to_put(grant.ticket, member.site, digests)
            came = [digest for digest in digests if carry(digest, self._caller.blobs, self._called.blobs)]
            return service.put_here(member, came)

        return self._call("upload", put)

    def verify(self, digests: Sequence[Digest]) -> Sequence[Replica]:
        return self._call("verify", lambda service, member: service.verify(member, digests))

    def repair(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        return self._call("repair", lambda service, member: service.repair(member, digests))

    def exchange_heads(self, heads: Sequence[SignedHead]) -> Sequence[SignedHead]:
        return self._call("exchange_heads", lambda service, member: service.audit.exchange(member, heads))

    def audit_proof(self, after: int, last: int) -> Proof:
        return self._call("audit_proof", lambda service, member: service.audit.proof(after, last))

    def offer_audit_proof(self, offered: Offered) -> int:
        return self._call("offer_audit_proof", lambda service, member: service.audit.offered(member, offered))

    def disclosures(self, question: Question, principal: Principal) -> Disclosed:
        asks = replace(principal, via=self._caller.name)
        return self._call(
            "disclosures", lambda service, member: service.audit.disclosures(member, asks, question)
        )

    def compare(self, ranges: Sequence[Range]) -> Sequence[Compared]:
        return self._call("compare", lambda service, member: service.compare(member, ranges))


def carry(digest: Digest, source: MemoryStore, target: MemoryStore) -> bool:
    """Carry bytes from one store to another; damaged ones are turned away, as the data plane does."""
    if source.size(digest) is None:
        return False
    with source.mapped(digest) as view:
        content = bytes(view)
    if hashlib.sha256(content).hexdigest() != digest:
        return False
    return target.put([content]) == digest


def acquaint(*sites: FederatedSite) -> None:
    """Let every site know every other, and exchange everything with it, as if they had been joined."""
    announced = {site.name: site.catalog.perform(site.home.announce) for site in sites}
    for site in sites:
        with site.catalog.begin() as unit:
            for other in sites:
                if other is not site:
                    says = {"site": other.name, "descriptor": announced[other.name]}
                    unit.journal.append(Fact.MEMBER, says)
                    state_standing(unit, site.operator, other.name, Standing.ACTIVE)
                    state_consent(unit, site.operator, other.name, export=EVERYTHING, accept=EVERYTHING)
            derive_members(unit)


@contextmanager
def federation(
    *names: str, callable: Callable[[str], bool] = lambda _: True, ahead: Mapping[str, float] | None = None
) -> Iterator[list[FederatedSite]]:
    """New, empty sites that know each other.

    Args:
        names: of the sites.
        callable: which of them others can call.
        ahead: how many seconds the clocks of some of them are ahead of that of the others.
    """
    with ExitStack() as stack:
        network, clock = Network(), Clock()
        sites = [
            FederatedSite(
                name=SiteId(name),
                folder=Path(stack.enter_context(fast_folder())),
                network=network,
                clock=SkewedClock(clock, ahead[name]) if ahead and name in ahead else clock,
                callable=callable(name),
            )
            for name in names
        ]
        for site in sites:
            stack.callback(lambda site=site: site.catalog.close())
        acquaint(*sites)
        yield sites


def settle(
    *sites: FederatedSite, rounds: int = 40, order: random.Random | None = None, work: bool = False
) -> None:
    """Let the sites exchange, and carry out their jobs if told so, until none has anything left to do."""
    for _ in range(rounds):
        called = list(sites)
        if order:
            order.shuffle(called)
        sites[0].clock.forward(700 * len(sites))
        busy = [bool(work and site.work()) | site.exchange() for site in called]
        if not any(busy):
            return
    raise AssertionError("the sites never came to rest")
