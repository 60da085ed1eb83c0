"""What the portal is given: doors of the node, and nothing of how they work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.domain.decision import Decision
from node.domain.principal import Action, Principal
from node.identity.accounts import Accounts
from node.identity.emergencies import Emergencies
from node.identity.providers.discovery import Providers
from node.identity.saml.login import Logins
from node.identity.sessions import Sessions
from node.replication.accounting import Accounting
from node.replication.federated_search import FederatedSearch
from services.portal.opening import Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the portal says of itself."""

    site: str
    organization: str
    url: str
    """Where browsers find it, without a slash at the end."""
    support: str = ""
    """Whom to ask."""
    language: str = "en"
    demonstration: bool = False
    mfa: bool = False
    """Whether every login has to prove a second factor."""
    local: bool = False
    """Whether local accounts are offered; the sealed one can always be used."""
    certificates: bool = False
    """Whether persons have certificates."""
    patience: float = 10.0
    """Seconds that other sites have to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """All of them."""

    about: About
    sessions: Sessions
    standing: Callable[[Principal], Principal]
    """The person with what was granted here, as of now."""
    why: Callable[[Principal, Action, str], Decision]
    """What the policy says of a person, an action and a study; of any study, if that is empty."""
    refused: Callable[[Principal, Action, str, Decision], object]
    """Records that a person was refused something of a study."""
    logins: Logins
    metadata: Callable[[], bytes]
    """What this service tells identity providers of itself, signed."""
    providers: Providers
    accounts: Accounts
    certificate: Callable[[bytes], Principal]
    """The person whom a client certificate (DER) names."""
    search: FederatedSearch
    opening: Opening
    emergencies: Emergencies
    demand: Callable[[Principal, Action], object]
    """Lets a person pass for an action or raises `Forbidden`; a refusal is recorded."""
    accounting: Accounting
