"""Who asks: the caller as every face names it, and what the answer was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from node.domain.ids import AETitle, SiteId


class Kind(StrEnum):
    """What sort of caller a principal is."""

    DEVICE = "device"
    OPERATOR = "operator"
    NODE = "node"
    PERSON = "person"


class Action(StrEnum):
    """What a principal can be allowed to do."""

    STORE = "store"
    """Bring instances in."""
    QUERY = "query"
    """Find studies and read what is catalogued of them."""
    RETRIEVE = "retrieve"
    """Get or see images."""
    AMEND = "amend"
    """Correct, merge, withdraw, restore and lock what is archived; settle what waits in quarantine."""
    ADMINISTER = "administer"
    """Devices, partners, checks and repairs, roles of sites."""
    FEDERATE = "federate"
    """Members, invitations, terms and rules of replication."""
    GRANT = "grant"
    """Give and take the roles of persons, and activate a policy."""
    AUDIT = "audit"
    """Read the audit record."""
    REVIEW = "review"
    """Judge afterwards whether an emergency access was right."""
    REQUEST = "request"
    """Ask for a de-identified data set."""
    APPROVE = "approve"
    """Let out what somebody else has asked for."""


Attributes: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]

DEVICE_ACTIONS = frozenset({Action.STORE, Action.QUERY, Action.RETRIEVE})
"""What a device may do unless it was added with less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller whose identity a face has established."""

    kind: Kind
    name: str
    site: SiteId
    address: str = ""
    may: frozenset[Action] = frozenset()
    via: SiteId | None = None
    """The member whose node brings the call; None for callers of this site itself."""
    issuer: str = ""
    """Who vouches for a person: the entity id of an IdP, `local`, or the name of a certificate authority."""
    display: str = ""
    """The name of a person as people say it."""
    attributes: Attributes = ()
    """What the issuer says of a person: names of attributes with their values, ascending."""
    roles: frozenset[str] = frozenset()
    """The roles that were granted here; the gate fills them in for each call, as the next two."""
    names: frozenset[str] = frozenset()
    """The names by which referrals call a person, as DICOM writes them, folded."""
    emergencies: frozenset[str] = frozenset()
    """The studies that an emergency access is open for now."""
    mfa: bool = False
    """Whether a person has proved a second factor (REFEDS MFA)."""
    policy: str = ""
    """The version of the policy that decides about the call."""
    purpose: str = ""
    """Why it is asked, in the words of `node.identity.xspa.Purpose`; empty where nobody said."""
    device: str = ""
    """The AE title of the device that a person sits at, if it named the person."""

    def values(self, attribute: str) -> tuple[str, ...]:
        """What the issuer says of an attribute; nothing where it does not name it."""
        return dict(self.attributes).get(attribute, ())

    @property
    def ae_title(self) -> str:
        """The AE title of the device that calls, or that a person sits at."""
        return self.device or self.name

    @property
    def source(self) -> str:
        """Where what it stores comes from, as the journal tells other sites: nothing of a person is in it."""
        if self.kind is not Kind.PERSON:
            return str(self)
        return f"{Kind.DEVICE}:{self.device}@{self.site}" if self.device else f"{Kind.PERSON}@{self.site}"

    def __str__(self) -> str:
        """As logs and audit records name it: `device:CT1@brno`."""
        return f"{self.kind}:{self.name}@{self.site}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a device shows of itself when it asks for an association."""

    calling: AETitle
    called: str
    address: str
    certificate: str | None = None
    """SHA-256 of the client certificate (DER, hexadecimal); None on the plain port."""


class Naming(StrEnum):
    """How a device says which person sits at it (PS3.7 D.3.3.7)."""

    IGNORED = "ignored"
    """What it says is not looked at: it acts for itself, as devices did before persons were known."""
    OPTIONAL = "optional"
    """It may, and has to prove it; where it does not, it acts for itself."""
    REQUIRED = "required"
    """It has to, and to prove it; without a person it gets no association."""
    TRUSTED = "trusted"
    """It may name a person without a proof: people log in at the device, and the site believes that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A modality, workstation or archive that may associate, and where to call it back."""

    ae_title: AETitle
    host: str
    port: int
    may: frozenset[Action] = DEVICE_ACTIONS
    certificate: str | None = None
    """PEM of the only certificate it may show; with one, the plain port is closed to it."""
    people: Naming = Naming.OPTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """An unknown device that asked for an association, kept until somebody decides."""

    ae_title: str
    address: str
    called: str
    asked: str
    """What it asked for, in words: the SOP classes it proposed."""
    count: int
    first_at: int
    last_at: int
    """Microseconds since 1970."""
