"""A policy as data: what each rule says, read from TOML, with nothing that is not understood let through.

```toml
version = "2026-11-22"          # named by every decision and every audit record

[emergency]                     # who may break the glass, for how long, for what
roles = ["radiologist"]
minutes = 60

[[rule]]
name = "radiologists read"
roles = ["radiologist"]
actions = ["query", "retrieve"]
on = ["own", "shared"]          # how the data stand to this site
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from node.domain.decision import Resource, Sensitivity, Standing
from node.domain.errors import BadPolicy
from node.domain.principal import Action, Principal

MODALITY: Final = "modality"
"""The role that every device of this site has."""
LONGEST_POLICY: Final = 256 * 1024
MOST_RULES: Final = 500
LONGEST_MINUTES: Final = 24 * 60


APART: Final = frozenset({Action.ADMINISTER, Action.FEDERATE, Action.GRANT, Action.AUDIT, Action.REVIEW})
"""What is not about a study, so that no rule about it can depend on one."""
_ABOUT_STUDIES: Final = (
    "on",
    "sites",
    "issuers",
    "modalities",
    "sensitivity",
    "referring",
    "consent",
    "refused",
)


class Effect(StrEnum):
    """What a rule does where it applies."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule: every condition that is given has to hold.

    The conditions from `on` to `refused` are about the resource; a question without a resource asks whether
    there may be one for which the rule applies.
    """

    name: str
    roles: frozenset[str]
    actions: frozenset[Action]
    effect: Effect = Effect.ALLOW
    on: frozenset[Standing] = frozenset()
    """How the data stand to this site; empty is anyhow."""
    sites: frozenset[str] = frozenset()
    """Which sites received the data first."""
    issuers: frozenset[str] = frozenset()
    """Who gave the Patient ID."""
    modalities: frozenset[str] = frozenset()
    """A study matches if it holds one of them."""
    sensitivity: frozenset[Sensitivity] = frozenset()
    """Which marks a study may bear; an allowing rule without it is about unmarked studies only."""
    referring: bool = False
    """Whether the person has to be the one who referred the patient."""
    consent: frozenset[str] = frozenset()
    """What the patient has to have agreed to."""
    refused: frozenset[str] = frozenset()
    """What the patient has refused; for rules that deny."""
    purposes: frozenset[str] = frozenset()
    """Why it may be asked."""
    mfa: bool = False
    """Whether a second factor has to be proved."""
    elsewhere: bool | None = None
    """Whether the caller has to come by another site (true), or may not (false)."""

    def is_about(self, principal: Principal, action: Action) -> bool:
        """Whether the rule concerns what this caller wants to do, whatever the resource."""
        comes_by_another = principal.via is not None
        return (
            action in self.actions
            and bool(self.roles & principal.roles)
            and (self.elsewhere is None or self.elsewhere is comes_by_another)
            and (not self.purposes or principal.purpose in self.purposes)
        )

    @property
    def asks_for_resource(self) -> bool:
        """Whether it depends on the resource."""
        conditions = (self.on, self.sites, self.issuers, self.modalities, self.sensitivity)
        said = (self.consent, self.refused)
        return self.effect is Effect.ALLOW or any((*conditions, *said)) or self.referring

    @property
    def is_for_all(self) -> bool:
        """Whether it allows the same for every study that is shown at all."""
        shown = frozenset(Standing) - {Standing.RETRACTED}
        conditions = (self.sites, self.issuers, self.modalities, self.consent, self.refused, self.purposes)
        return (
            self.effect is Effect.ALLOW
            and (not self.on or self.on >= shown)
            and self.sensitivity == frozenset(Sensitivity)
            and not (any(conditions) or self.referring or self.mfa)
        )

    def misses(self, principal: Principal, resource: Resource) -> str:
        """Which condition about the resource does not hold, in words; empty if all do."""
        for holds, why in _CONDITIONS:
            if not holds(self, principal, resource):
                return why
        return ""


_Condition = Callable[[PolicyRule, Principal, Resource], bool]


def _bears_its_mark(rule: PolicyRule, _principal: Principal, resource: Resource) -> bool:
    if rule.sensitivity:
        return resource.sensitivity in rule.sensitivity
    return rule.effect is Effect.DENY or not resource.sensitivity


def _refers(rule: PolicyRule, principal: Principal, resource: Resource) -> bool:
    return not rule.referring or folded(resource.referring) in principal.names


_CONDITIONS: Final[tuple[tuple[_Condition, str], ...]] = (
    (lambda rule, _, it: not rule.on or it.standing in rule.on, "it is not about data of this standing"),
    (lambda rule, _, it: not rule.sites or it.site in rule.sites, "it is about data of other sites"),
    (lambda rule, _, it: not rule.issuers or it.issuer in rule.issuers, "it is about other issuers"),
    (
        lambda rule, _, it: not rule.modalities or bool(rule.modalities & it.modalities),
        "it is about other modalities",
    ),
    (_bears_its_mark, "it is about studies with other marks"),
    (_refers, "somebody else has referred the patient"),
    (lambda rule, _, it: rule.consent <= it.consent, "the patient has not agreed to it"),
    (lambda rule, _, it: not rule.refused or bool(rule.refused & it.refused), "the patient has not refused"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glass:
    """Emergency access: who may open what is otherwise closed to them, and for how long."""

    roles: frozenset[str] = frozenset()
    minutes: int = 60
    on: frozenset[Standing] = frozenset({Standing.OWN, Standing.SHARED, Standing.FOREIGN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules of a version."""

    version: str
    rules: tuple[PolicyRule, ...]
    roles: Mapping[str, str]
    """What each role is, in words, by name."""
    glass: Glass = Glass()
    dual: frozenset[str] = frozenset()
    """Roles that only take effect when a second person has approved the grant."""


def folded(name: str) -> str:
    """A person's name as two writings of it are compared: the letters, the first group only."""
    letters = name.split("=", maxsplit=1)[0].casefold().rstrip("^ ")
    return "^".join(part.strip() for part in letters.split("^"))


def read(text: str) -> Policy:
    """Read a policy.

    Raises:
        BadPolicy: it cannot be read, or says something that is not understood; the reason names the place.
    """
    if len(text) > LONGEST_POLICY:
        raise BadPolicy(f"it is longer than {LONGEST_POLICY} characters")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadPolicy(str(error)) from None
    except RecursionError:
        raise BadPolicy("it is nested too deeply") from None
    _demand_known(values, {"version", "roles", "emergency", "rule", "dual_control"}, "the policy")
    version = values.get("version")
    if not isinstance(version, str) or not 0 < len(version) <= 64 or not version.isprintable():
        raise BadPolicy('it needs a version of up to 64 characters, for example version = "2026-11-22"')
    roles = _roles(values.get("roles", {}))
    found = values.get("rule", [])
    if not isinstance(found, list) or len(found) > MOST_RULES:
        raise BadPolicy(f"it needs its rules as [[rule]], up to {MOST_RULES}")
    return Policy(
        version=version,
        roles=roles,
        rules=_distinct(tuple(_rule(one, number, roles) for number, one in enumerate(found, 1))),
        glass=_glass(values.get("emergency", {}), roles),
        dual=_names(values.get("dual_control", []), "dual_control", set(roles)),
    )


def _distinct(rules: tuple[PolicyRule, ...]) -> tuple[PolicyRule, ...]:
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise BadPolicy(f"two rules are called {name!r}")
    return rules


def _roles(values: object) -> dict[str, str]:
    """Names of roles with what each of them is."""
    if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
        raise BadPolicy('[roles] lists roles with what each is, for example auditor = "reads the record"')
    return {MODALITY: "a device on the device list"} | values


def _rule(values: object, number: int, roles: Mapping[str, str]) -> PolicyRule:
    """One rule."""
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise BadPolicy(f"rule {number} has no name")
    where = f"rule {values['name']!r}"
    _demand_known(values, {one.name for one in fields(PolicyRule)}, where)
    read_values: dict[str, Any] = {"name": values["name"]}
    for key, value in values.items():
        if key != "name":
            read_values[key] = _value(key, value, where, roles)
    for key in ("roles", "actions"):
        if not read_values.get(key):
            raise BadPolicy(f"{where} needs {key}")
    apart, about = sorted(read_values["actions"] & APART), [key for key in _ABOUT_STUDIES if key in values]
    if apart and about:
        raise BadPolicy(f"{where}: {about[0]} is about studies, and {apart[0]} is not; make it two rules")
    if read_values.get("effect") is Effect.DENY and read_values.get("mfa"):
        raise BadPolicy(f"{where}: a rule that denies cannot ask for a second factor; one that allows can")
    return PolicyRule(**read_values)


def _value(key: str, value: object, where: str, roles: Mapping[str, str]) -> object:
    """One condition of a rule."""
    if key in {"mfa", "referring", "elsewhere"}:
        if not isinstance(value, bool):
            raise BadPolicy(f"{where}: {key} is true or false")
        return value
    if key == "effect":
        if value not in list(Effect):
            raise BadPolicy(f"{where}: effect is allow or deny")
        return Effect(str(value))
    if key == "roles":
        return _names(value, f"{where}: roles", set(roles))
    words = _WORDS.get(key)
    found = _names(value, f"{where}: {key}", set(words) if words else None)
    return frozenset(words(one) for one in found) if words else found


_WORDS: Final[Mapping[str, type[StrEnum]]] = {
    "actions": Action,
    "on": Standing,
    "sensitivity": Sensitivity,
}
"""Conditions that take certain words only."""


def _glass(values: object, roles: Mapping[str, str]) -> Glass:
    """What the section on emergencies says."""
    if not isinstance(values, dict):
        raise BadPolicy("emergency is a section, [emergency]")
    _demand_known(values, {"roles", "minutes", "on"}, "[emergency]")
    minutes = values.get("minutes", Glass().minutes)
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 0 < minutes <= LONGEST_MINUTES:
        raise BadPolicy(f"[emergency]: minutes is a whole number up to {LONGEST_MINUTES}")
    on = values.get("on")
    standing = Glass().on if on is None else _names(on, "[emergency]: on", set(Standing))
    return Glass(
        roles=_names(values.get("roles", []), "[emergency]: roles", set(roles)),
        minutes=minutes,
        on=frozenset(Standing(one) for one in standing),
    )


def _names(value: object, where: str, known: set[Any] | None) -> frozenset[str]:
    """A list of names, each of them known."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadPolicy(f"{where} is a list of names")
    unknown = [] if known is None else sorted(set(value) - {str(one) for one in known})
    if unknown:
        choices = ", ".join(sorted(str(one) for one in known or ()))
        raise BadPolicy(f"{where}: {unknown[0]!r} is not known; there is {choices}")
    return frozenset(value)


def _demand_known(values: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise BadPolicy(f"{where}: {unknown[0]!r} is not known; there is {', '.join(sorted(known))}")
