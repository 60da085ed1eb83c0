"""Roles and failover: which part this site plays, and taking the place of another one.

```
primary  archive, successors: backup          takes what devices send
backup   backup                               holds copies, serves every read
                                              the primary is lost
backup   konzilium promote                    archive from now on; in the same fact the primary is a backup
primary  comes back                           hears that with the first facts it reads: refuses stores, keeps
                                              what it took until then, and gives it to the others
primary  konzilium promote                    takes its place back, if it is to
```

What either of them took meanwhile stays and merges as all facts do: nothing that was acknowledged is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from node.audit.record import Deed, Event
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Forbidden, Rejected, UnknownMember
from node.domain.ids import SiteId
from node.domain.job import Task
from node.domain.principal import Action, Principal
from node.domain.role import Role, SiteRole
from node.identity.gate import Gate
from node.identity.roles import state_role
from node.replication.epochs import begin_epoch

LONGEST_REASON = 1000
"""Characters."""


class Roles:
    """The roles of all sites, and what somebody here decides about that of this one."""

    def __init__(self, catalog: Catalog) -> None:
        """The roles as the site of this catalog knows them."""
        self._catalog = catalog
        self._gate = Gate(catalog)

    def all(self) -> Sequence[SiteRole]:
        """The role of this site, then those of its members by name."""
        with self._catalog.reading() as unit:
            members = [member.site for member in unit.members.all()]
            return [unit.roles.of(site) for site in (unit.origin, *members)]

    def here(self) -> SiteRole:
        """The role of this site."""
        with self._catalog.reading() as unit:
            return unit.roles.here()

    def state(
        self,
        principal: Principal,
        role: Role | None = None,
        *,
        successors: Sequence[SiteId] | None = None,
        reason: str,
    ) -> SiteRole:
        """Say which role this site has, and which sites may take its place; what is not given stays.

        Raises:
            Forbidden: the policy says no.
            UnknownMember: a successor is no member.
            Rejected: another site has taken the place of this one, or there is no reason.
        """
        self._gate.demand(principal, Action.ADMINISTER)
        _demand_reason(reason)

        def state(unit: Unit) -> SiteRole:
            here = unit.roles.here()
            wanted = role or here.role
            _demand_free(unit, here, wanted)
            named = here.successors if successors is None else _sound(unit, successors)
            state_role(unit, principal, wanted, successors=named, reason=reason)
            return unit.roles.here()

        return self._catalog.perform(state)

    def promote(
        self,
        principal: Principal,
        in_place_of: SiteId | None = None,
        *,
        successors: Sequence[SiteId] | None = None,
        reason: str,
    ) -> SiteRole:
        """Make this site the archive in place of another one, which is a backup from then on.

        Args:
            principal: who decides it: somebody here, or somebody of the site whose place is taken.
            in_place_of: whose place; may be left out where one archive alone has named this site.
            successors: of this site from then on; that one first, then its other ones, if left out.
            reason: why.

        Returns:
            The role of this site.

        Raises:
            Forbidden: the principal may not decide that.
            UnknownMember: no site of that name is known here.
            Rejected: that site has not named this one as its successor, or there is no reason.
        """
        if principal.via is None:
            self._gate.demand(principal, Action.ADMINISTER)
        elif principal.via != in_place_of:
            raise Forbidden(principal, "promote this site", "only its own place can a site give away")
        _demand_reason(reason)

        def promote(unit: Unit) -> SiteRole:
            if in_place_of is not None and unit.roles.of(in_place_of).by == unit.origin:
                return unit.roles.here()
            place = place_to_take(unit.roles.all(), unit.origin, in_place_of)
            named = heirs(unit.origin, place) if successors is None else _sound(unit, successors)
            state_role(unit, principal, Role.BACKUP, successors=named, reason=reason, in_place_of=place)
            return unit.roles.here()

        return self._catalog.perform(promote)

    def demote(self, principal: Principal, site: SiteId | None = None, *, reason: str) -> SiteRole:
        """Make this site a backup: it takes nothing from devices and persons from now on.

        Args:
            principal: who decides it: somebody here, or somebody of a site that is named as successor.
            site: this one.
            reason: why.

        Returns:
            The role of this site.

        Raises:
            Forbidden: the principal may not decide that.
            Rejected: it is about another site, this one is a backup already, or there is no reason.
        """
        if principal.via is None:
            self._gate.demand(principal, Action.ADMINISTER)
        _demand_reason(reason)

        def demote(unit: Unit) -> SiteRole:
            here = unit.roles.here()
            if principal.via is not None and principal.via not in here.successors:
                raise Forbidden(principal, "demote this site", "it is not named as its successor")
            if site not in (None, unit.origin):
                raise Rejected(f"{site} decides that itself, or a successor that is promoted in its place")
            if not here.role.takes:
                raise Rejected(f"{unit.origin} is a backup already")
            state_role(unit, principal, Role.BACKUP, successors=here.successors, reason=reason)
            return unit.roles.here()

        return self._catalog.perform(demote)


def place_to_take(known: Iterable[SiteRole], here: SiteId, named: SiteId | None = None) -> SiteRole:
    """The site whose place another one can take: one that has named it as its successor.

    Args:
        known: the roles of all sites of which anything was said.
        here: the site that takes it.
        named: whose place is meant, if somebody said so.

    Raises:
        Rejected: there is none, there are several, or it is not the one that was named.
    """
    held = [one for one in known if not one.was_replaced and one.site != here and here in one.successors]
    if named is not None:
        place = next((one for one in held if one.site == named), None)
        if place is None:
            raise Rejected(f"{named} has not named {here} as its successor, or has been replaced itself")
        return place
    found = [one for one in held if one.role.takes] or held
    if not found:
        raise Rejected(
            f"no site has named {here} as its successor; `konzilium role --archive` makes it an archive "
            "beside the others"
        )
    if len(found) > 1:
        sites = ", ".join(one.site for one in found)
        raise Rejected(f"several sites have named {here} as their successor ({sites}); say which")
    return found[0]


def heirs(here: SiteId, place: SiteRole) -> tuple[SiteId, ...]:
    """The successors of a site that takes a place: who had it before, then the other successors there."""
    return (place.site, *(site for site in place.successors if site != here))


def on_demoted(catalog: Catalog, key: str) -> None:
    """Begin a new epoch when this site has learned that it is no archive any more.

    What it stated as an archive so ends there, at every site alike. It may be done again.

    Args:
        catalog: of this site.
        key: of the job that owes it.
    """

    def begin(unit: Unit) -> None:
        if unit.jobs.find(Task.STEP_DOWN, key) is None:
            return
        unit.jobs.done(Task.STEP_DOWN, key)
        here = unit.roles.here()
        if here.role.takes:
            return
        ended = unit.epoch
        begin_epoch(unit)
        what = f"epoch {unit.epoch} begun as a {here.role}, after epoch {ended}"
        unit.audit.append(Deed(event=Event.CONFIGURED, who=f"node:{unit.origin}@{unit.origin}", what=what))

    catalog.perform(begin)


def _demand_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise Rejected(f"a decision is given a reason of up to {LONGEST_REASON} characters")


def _demand_free(unit: Unit, here: SiteRole, wanted: Role) -> None:
    """See that a site whose place was taken does not become a second one beside the first."""
    if here.by is None or not here.was_replaced or not wanted.takes:
        return
    member = unit.members.find(here.by)
    if member is not None and member.is_active:
        raise Rejected(f"{here.by} has taken its place; `konzilium promote` takes it back")


def _sound(unit: Unit, successors: Sequence[SiteId]) -> tuple[SiteId, ...]:
    for site in successors:
        if site == unit.origin:
            raise Rejected("a site is not its own successor")
        if unit.members.find(site) is None:
            raise UnknownMember(site)
    return tuple(dict.fromkeys(successors))
