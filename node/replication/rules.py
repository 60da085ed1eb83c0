"""Rules at work: said, taken back, explained; and what is owed worked out again after they changed.

The rules of the site that received an instance decide at which other sites a copy is owed. All rules that
match an instance add up; where a site has no rules, every member owes a copy. Nothing is owed by a member
that is not active, or that this site's terms do not give the instance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from node.archive import owing
from node.audit.record import Event, deed_of
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.rules import Partner, Policy
from node.catalog.traits import Known
from node.catalog.unit import Unit
from node.domain.errors import MalformedIdentifier, Rejected, UnknownRule, UnknownStudy
from node.domain.ids import RuleName, SeriesUID, SiteId, StudyUID
from node.domain.job import Task
from node.domain.member import Standing
from node.domain.principal import Action, Principal
from node.domain.rule import DAY, EVERYWHERE, Rule, Traits
from node.identity.gate import Gate
from node.journal.entry import Entry, Fact

Progress = Callable[[int, int], None]
"""Told how many of how many facts have been looked at."""
_BATCH = 500


def of(unit: Unit) -> Sequence[Rule]:
    """The rules in force, in the order in which they were added."""
    return unit.rules.all() or (EVERYWHERE,)


def desired(unit: Unit, about: Traits) -> Sequence[SiteId]:
    """The sites that owe a copy of an instance with these traits, now."""
    return unit.rules.desired(about)


def terms_number(unit: Unit) -> int:
    """A number that changes when what this site gives may have changed."""
    return unit.rules.terms_number()


class RuleBook:
    """The rules of this site."""

    def __init__(self, catalog: Catalog) -> None:
        """The rules in this catalog."""
        self._catalog = catalog
        self._gate = Gate(catalog)

    def all(self) -> Sequence[Rule]:
        """The rules in the order in which they were added; without any, `EVERYWHERE` holds."""
        with self._catalog.reading() as unit:
            return unit.rules.all()

    def add(self, principal: Principal, rule: Rule, *, replace: bool = False) -> None:
        """Add a rule; copies that it wants are owed of what is archived already, too.

        Raises:
            Forbidden: the policy says no.
            Rejected: one of that name is there and is not to be replaced, or the rule wants nothing.
        """
        self._gate.demand(principal, Action.FEDERATE)
        _demand_sound(rule)

        def add(unit: Unit) -> None:
            names = [known.name for known in unit.rules.all()]
            if rule.name in names and not replace:
                raise Rejected(f"there is a rule called {rule.name} already; say --replace to change it")
            position = names.index(rule.name) if rule.name in names else len(names)
            self._state(unit, principal, rule.name, rule, _positions(unit, names)[position])

        self._catalog.perform(add)

    def remove(self, principal: Principal, name: str) -> None:
        """Remove a rule; copies that are verified already stay where they are.

        Raises:
            Forbidden: the policy says no.
            UnknownRule: there is none of that name.
        """
        self._gate.demand(principal, Action.FEDERATE)

        def remove(unit: Unit) -> None:
            if name not in [known.name for known in unit.rules.all()]:
                raise UnknownRule(name)
            self._state(unit, principal, name, None, 0)

        self._catalog.perform(remove)

    def explain(self, study: StudyUID) -> Sequence[Part]:
        """Where copies of a study are owed, and why (see `explain`)."""
        with self._catalog.reading() as unit:
            return explain(unit, study)

    def _state(self, unit: Unit, principal: Principal, name: str, rule: Rule | None, position: int) -> None:
        says = {"name": name, "rule": rule.told() if rule else None, "position": position}
        unit.journal.append(Fact.RULE, {**says, "by": str(principal)})
        what = f"rule {name} {f'is {described(rule)}' if rule else 'removed'}"
        unit.audit.append(deed_of(principal, Event.CONFIGURED, what=what))
        unit.rules.changed()


def _positions(unit: Unit, names: Sequence[str]) -> list[int]:
    """The places of the rules that are there, then the one after them."""
    places: dict[str, int] = {}
    for entry in unit.journal.of_kind(Fact.RULE):
        if entry.origin == unit.origin:
            places[entry.says["name"]] = entry.says["position"]
    return [*(places[name] for name in names), max(places.values(), default=0) + 1]


def _demand_sound(rule: Rule) -> None:
    try:
        RuleName(rule.name)
    except MalformedIdentifier as error:
        raise Rejected(f"{error.args[0]} expected") from None
    if rule.name == EVERYWHERE.name:
        raise Rejected(f"{rule.name} is what a site without rules is said to have")
    if rule.copies is not None and rule.copies < 1:
        raise Rejected("a rule wants at least one copy")
    if rule.copies is not None and rule.sites and rule.copies > len(set(rule.sites)):
        raise Rejected("a rule cannot want more copies than it names sites")


def described(rule: Rule) -> str:
    """A rule in words: `modality CT: 2 copies among prague, olomouc`."""
    many = {None: "a copy at each of", 1: "a copy at one of"}.get(rule.copies, f"{rule.copies} copies among")
    return f"{rule.match}: {many} {', '.join(rule.sites) or 'all members'}"


def reconsider(catalog: Catalog, progress: Progress = lambda done, total: None) -> int:
    """Work out again which sites owe copies of what this site received; how many rows changed.

    What a site has said of its copy stays as it is. It may be interrupted and begun again at any time.
    """
    with catalog.reading() as unit:
        epochs = unit.journal.epochs()
    rows, done = 0, 0
    for epoch, last in epochs.items():
        seq = 0
        while seq < last:
            with catalog.reading() as unit:
                page = unit.journal.page(seq, _BATCH, epoch=epoch)
                stale = [entry for entry in page if owing.moves(unit, entry)]
            if stale:
                rows += catalog.perform(partial(_bring_in_line, entries=stale))
            seq = page[-1].seq if page else last
            progress(done + seq, sum(epochs.values()))
        done += last
    catalog.perform(_again_tomorrow)
    return rows


def _bring_in_line(unit: Unit, *, entries: Sequence[Entry]) -> int:
    """Look again, now that nobody else changes rules or terms, and write what is owed of these entries."""
    return owing.carry_out(unit, moves=[move for entry in entries for move in owing.moves(unit, entry)])


def _again_tomorrow(unit: Unit) -> None:
    """Where a condition asks for the age of a study, what is owed changes by itself."""
    if unit.rules.policy.is_dated:
        tomorrow = unit.now // DAY + 1
        unit.jobs.add(Task.RECONSIDER, f"day {tomorrow}", after=tomorrow * DAY - unit.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a member has to do with a part of a study."""

    site: SiteId
    standing: Standing
    owes: bool
    """Whether the rules want a copy there."""
    why: str
    """Why they do, or do not."""
    copies: Mapping[str, int]
    """How many copies of it are in which state; those of which nothing is known are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Instances of a series that rules treat alike."""

    series: SeriesUID
    origin: SiteId
    """The site that received them, whose rules decide."""
    instances: int
    modality: str
    ae_title: str
    body_part: str
    rules: tuple[str, ...]
    """Names of the rules that match; none where another site decides."""
    shares: tuple[Share, ...]


def explain(unit: Unit, study: StudyUID) -> Sequence[Part]:
    """Which rules match each part of a study, who owes copies by them and why, and what is known of each.

    Raises:
        UnknownStudy: it is not here.
    """
    parts: dict[tuple[SeriesUID, SiteId, Traits], list[Known]] = {}
    for known in traits.of_study(unit, study):
        taken_on = replace(known.traits, taken_at=known.traits.taken_at // DAY * DAY)
        parts.setdefault((known.series, known.origin, taken_on), []).append(known)
    if not parts:
        raise UnknownStudy(study)
    return [_part(unit, instances) for instances in parts.values()]


def _part(unit: Unit, instances: Sequence[Known]) -> Part:
    first, policy = instances[0], unit.rules.policy
    mine = first.origin == unit.origin
    about = first.traits
    states = Counter(
        (replica.site, replica.state.value)
        for known in instances
        for replica in unit.replicas.of_digest(known.digest)
    )
    return Part(
        series=first.series,
        origin=first.origin,
        instances=len(instances),
        modality=about.modality,
        ae_title=about.ae_title,
        body_part=about.body_part,
        rules=tuple(rule.name for rule in policy.matching(about, now=unit.now)) if mine else (),
        shares=tuple(
            Share(
                site=partner.site,
                standing=partner.standing,
                owes=mine and partner.site in policy.desired(about, now=unit.now),
                why=_why(policy, partner, about, unit.now) if mine else _elsewhere(first, partner),
                copies={state: many for (site, state), many in states.items() if site == partner.site},
            )
            for partner in policy.partners
        ),
    )


def _elsewhere(known: Known, partner: Partner) -> str:
    return "it received them" if partner.site == known.origin else f"the rules of {known.origin} decide"


def _why(policy: Policy, partner: Partner, about: Traits, now: int) -> str:
    """Why a member owes a copy, or does not."""
    if not partner.keeps:
        is_active = partner.standing is Standing.ACTIVE
        return f"it is a {partner.role} site" if is_active else f"it is {partner.standing}"
    if not partner.may_have(about, now=now):
        return "our terms do not give it this"
    rules = policy.matching(about, now=now)
    if not rules:
        return "no rule matches"
    members = tuple(one.site for one in policy.partners if one.may_have(about, now=now))
    wanting = [rule.name for rule in rules if partner.site in rule.holders(about.study, members)]
    if wanting:
        return f"wanted by {', '.join(wanting)}"
    eligible = [rule.name for rule in rules if not rule.sites or partner.site in rule.sites]
    if eligible:
        return f"{', '.join(eligible)}: enough copies at other sites"
    return f"not named by {', '.join(rule.name for rule in rules)}"
