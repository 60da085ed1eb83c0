"""The portal of a whole site in this process, with an identity provider, and browsers that keep cookies."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import falcon.testing
from lxml import html

from node.catalog.providers import ProviderRow, Source
from node.catalog.resources import of_study
from node.domain.decision import Decision
from node.domain.errors import LoginRefused, PeerUnreachable
from node.domain.grant import Grant
from node.domain.ids import SiteId, StudyUID
from node.domain.principal import Action, Principal
from node.domain.query import Selection
from node.identity.accounts import Accounts
from node.identity.audit_book import AuditBook
from node.identity.emergencies import Emergencies
from node.identity.gate import Gate
from node.identity.home import Home
from node.identity.persons import person
from node.identity.providers.descriptor import written
from node.identity.providers.discovery import Providers, found_by
from node.identity.saml import keys
from node.identity.saml.login import Logins
from node.identity.saml.sp import ServiceProvider
from node.identity.sessions import Sessions
from node.policy.decide import decide
from node.replication.accounting import Accounting
from node.replication.calls import Calls
from node.replication.federated_search import FederatedSearch
from node.replication.peer import Peer
from node.replication.read_through import Retrieval, local
from services.https.request import CERTIFICATE
from services.portal.app import portal
from services.portal.doors import About, Doors
from services.portal.opening import Opening
from tests.support.saml_lab import (
    BASE,
    ENTITY,
    MFA,
    PRAGUE_IDP,
    Answer,
    Idp,
    message_in,
    site_keys_pem,
)
from tests.support.sites import BRNO, TestSite, site

HOST = urlsplit(BASE).netloc
RADIOLOGIST = "radiologist@hospital-brno.test"
LIFE = 100 * 365 * 86_400 * 1_000_000


def nobody(site: SiteId, *, timeout: float | None = None) -> Peer:
    """Reaches no other site: there is none."""
    raise PeerUnreachable(site, "there is none")


class LocalReader:
    """Retrieves what is here alone."""

    def __init__(self, files: Any) -> None:
        self._files = files

    def retrieve(self, principal: Principal, selection: Selection, *, destination: str = "") -> Retrieval:
        return local(self._files.select(principal, selection, destination=destination))


@dataclass
class Portal:
    """A site, its portal, and what a test changes of it."""

    site: TestSite
    about: dict[str, Any] = field(default_factory=dict)
    idps: tuple[Idp, ...] = (Idp(), PRAGUE_IDP)

    def __post_init__(self) -> None:
        catalog, clock, folder = self.site.catalog, self.site.clock, self.site.folder
        (folder / "keys").mkdir(mode=0o700, exist_ok=True)
        (folder / "keys" / keys.KEY).write_bytes(site_keys_pem())
        self.sp = ServiceProvider(entity_id=ENTITY, base_url=BASE, keys=keys.SpKeys(folder / "keys"))
        for idp in self.idps:
            self.believe(idp)
        about = About(
            **{"site": "brno", "organization": "Hospital Brno", "url": BASE, "patience": 0.5} | self.about
        )
        gate, home = Gate(catalog), Home(site=BRNO, key_folder=folder / "keys", url=None, ae_title=None)  # type: ignore[arg-type]
        self.sessions = Sessions(catalog, idle=1800, longest=36_000)
        self.persons: dict[bytes, Principal] = {}
        providers = Providers(catalog, clock)
        self.doors = Doors(
            about=about,
            sessions=self.sessions,
            standing=gate.known,
            why=self.why,
            refused=lambda person, action, study, no: gate.refuse(gate.known(person), action, {study: no}),
            logins=Logins(catalog, providers, self.sp, site=BRNO, mfa=about.mfa, clock=clock),
            metadata=lambda: b"<metadata/>",
            providers=providers,
            accounts=Accounts(catalog, BRNO, local=about.local),
            certificate=self.person_of,
            search=FederatedSearch(self.site.archive, catalog, nobody, Calls()),
            opening=Opening(self.site.archive, LocalReader(self.site.archive), patience=10.0),
            emergencies=Emergencies(catalog),
            demand=gate.demand,
            accounting=Accounting(catalog, AuditBook(catalog, home), nobody),
        )
        self.app = portal(self.doors, idle_minutes=30)

    @property
    def now(self) -> float:
        return self.site.clock.now / 1_000_000

    def believe(self, idp: Idp) -> None:
        """Let an identity provider be known here."""
        provider = idp.provider
        row = ProviderRow(
            entity=idp.entity, source="test", described=written(provider), folded=found_by(provider)
        )
        with self.site.catalog.begin() as unit:
            unit.providers.put_source(Source(name="test", kind="single", valid_until=unit.now + LIFE))
            unit.providers.put(row)

    def why(self, principal: Principal, action: Action, study: str) -> Decision:
        with self.site.catalog.reading() as unit:
            resources = of_study(unit, StudyUID.trusted(study)) if study else ()
            policy = unit.policies.current()
        return next(decide(principal, action, one, policy=policy) for one in resources or (None,))

    def person_of(self, der: bytes) -> Principal:
        if der not in self.persons:
            raise LoginRefused("the certificate names nobody")
        return self.persons[der]

    def grant(self, role: str, name: str = RADIOLOGIST, issuer: str = Idp().entity) -> None:
        """Give somebody a role, as two administrators would."""
        with self.site.catalog.begin() as unit:
            unit.grants.add(Grant(issuer=issuer, name=name, role=role, by="one", approved_by="another"))

    def deeds(self) -> list[str]:
        """What the audit record says, as text."""
        return [row[0] for row in self.site.rows("select deed from audit order by seq")]

    def browser(self, **headers: str) -> Browser:
        """A new browser."""
        return Browser(self, headers)

    def radiologist(self, *roles: str, **options: Any) -> Browser:
        """A browser in which the radiologist has logged in."""
        for role in roles:
            self.grant(role)
        return self.browser().log_in(**options)


class Browser:
    """Keeps cookies as RFC 6265 has it, as far as a portal on one host can tell."""

    def __init__(self, of: Portal, headers: dict[str, str]) -> None:
        self.portal = of
        self.client = falcon.testing.TestClient(of.app)
        self.headers = {"Host": HOST, **headers}
        self.cookies: dict[str, falcon.testing.Cookie] = {}
        self.environ: dict[str, Any] = {}
        self.page: falcon.testing.Result = None  # type: ignore[assignment]

    def get(self, path: str, *, follow: bool = True, **headers: str) -> Self:
        """Go to a page, and where it leads to on this host."""
        self._ask("GET", path, headers=headers)
        while (
            follow and self.page.status_code in (303, 307) and self.page.headers["Location"].startswith("/")
        ):
            self._ask("GET", self.page.headers["Location"], headers={})
        return self

    def post(self, path: str, fields: dict[str, str], *, cross_site: bool = False, **headers: str) -> Self:
        """Send a form; one that comes from another site brings no cookies but those made for it."""
        more = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        self._ask("POST", path, headers=more, body=urlencode(fields), cross_site=cross_site)
        return self

    def submit(self, path: str, **fields: str) -> Self:
        """Fill in the form of this page that goes there, with what it holds, and send it off."""
        form = next(form for form in self.tree.forms if form.action.partition("?")[0] == path)
        held = {name: value or "" for name, value in form.form_values()}
        return self.post(path, held | fields)

    def begin(self, idp: Idp | None = None, path: str = "") -> tuple[str, str]:
        """Begin a login there: the ID of the request, and what comes back with the answer."""
        entity = (idp or Idp()).entity
        self.get(path or f"/login/begin?{urlencode({'provider': entity})}", follow=False)
        assert self.page.status_code == 303, self.text
        url = self.page.headers["Location"]
        relay = re.search(r"RelayState=([^&]+)", url)
        assert relay
        return message_in(url).get("ID", ""), relay[1]

    def log_in(
        self, idp: Idp | None = None, *, path: str = "", follow: bool = True, **different: Any
    ) -> Self:
        """Log in there, as a person with a browser does."""
        request, relay = self.begin(idp, path)
        answer = Answer(request=request, idp=idp or Idp(), now=self.portal.now, **different)
        self.post("/saml/acs", {"SAMLResponse": answer.encoded(), "RelayState": relay}, cross_site=True)
        if follow and self.page.status_code == 303:
            self.get(self.page.headers["Location"])
        return self

    def _ask(
        self, method: str, path: str, *, headers: dict[str, str], body: str = "", cross_site: bool = False
    ) -> None:
        sent = {
            name: cookie.value
            for name, cookie in self.cookies.items()
            if not cross_site or cookie.same_site == "None"
        }
        place, _, query = str(path).partition("?")
        self.page = self.client.simulate_request(
            method, place, query_string=query, headers=self.headers | headers, body=body, cookies=sent,
            protocol="https", host=HOST, remote_addr="192.0.2.7", extras=self.environ,
        )  # fmt: skip
        for name, cookie in self.page.cookies.items():
            assert cookie.secure, f"{name} goes over a wire that others can read"
            if cookie.expires is not None and cookie.expires.year < 2000:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = cookie

    def plant(self, name: str, value: str) -> Self:
        """Let a cookie be there that somebody else has put there."""
        self.cookies[name] = SimpleNamespace(value=value, same_site="None")  # type: ignore[assignment]
        return self

    @property
    def status(self) -> int:
        return self.page.status_code

    @property
    def text(self) -> str:
        """The words of the page."""
        return " ".join(unescape(" ".join(self.tree.itertext())).split())

    @property
    def tree(self) -> Any:
        return html.fromstring(self.page.text or "<html><body></body></html>")

    def shows_certificate(self, der: bytes) -> Self:
        """Show a certificate in every handshake from now on."""
        self.environ = {CERTIFICATE: der}
        return self


@contextmanager
def portal_of_a_site(**about: Any) -> Iterator[Portal]:
    """A new site with its portal."""
    with site() as made:
        made.clock.now = time.time_ns() // 1000  # the second opinion on answers looks at the real time
        yield Portal(made, about)


def certificate_person(name: str) -> Principal:
    return person(issuer="x509:CN=Test Authority", name=name, site=BRNO)


__all__ = ["BASE", "MFA", "RADIOLOGIST", "Browser", "Portal", "portal_of_a_site"]
