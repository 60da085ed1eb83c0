"""Logging in: the institution is chosen here, the password is typed there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import falcon

from node.domain.account import LOCAL
from node.domain.errors import (
    LoginRefused,
    NodeError,
    PasswordChange,
    PasswordRefused,
    SecondFactorNeeded,
    TooBusy,
    Unauthenticated,
)
from node.domain.principal import Principal
from node.identity.providers.descriptor import Provider
from node.identity.sessions import Vouched
from services.https.request import CERTIFICATE, FINGERPRINT
from services.portal.doors import Doors
from services.portal.pages import Pages
from services.portal.visit import PROVIDER, SESSION, YEAR, Visit, bind, drop, keep, onward, visit_of
from services.portal.words import say

log = logging.getLogger(__name__)

MANY: Final = 12
"""Institutions that the page shows at once."""
LONGEST_COOKIE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An institution that can be chosen."""

    name: str
    host: str
    url: str
    demonstration: bool = False


class Login:
    """The page where people choose their institution."""

    for_strangers = True

    def __init__(self, pages: Pages) -> None:
        """Offer what the doors of these pages know."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the institutions that match, or the first ones."""
        language, wanted = visit_of(req).language, onward(req.get_param("next") or "/")
        find = (req.get_param("find") or "").strip()[:100]
        found = self._doors.providers.search(find, language, MANY + 1)
        self._pages.show(
            req,
            resp,
            "login.html",
            find=find,
            onward=wanted,
            last=None if find else self._last(req, wanted),
            choices=[_choice(one, language, wanted) for one in found[:MANY]],
            more=len(found) > MANY,
        )

    def _last(self, req: falcon.Request, wanted: str) -> Choice | None:
        """The one that this browser chose last, if it is still known."""
        values = req.get_cookie_values(PROVIDER) or []
        if len(values) != 1 or len(values[0]) > LONGEST_COOKIE:
            return None
        if not self._doors.providers.knows(values[0]):
            return None
        return _choice(self._doors.providers.find(values[0]), visit_of(req).language, wanted)


def _choice(provider: Provider, language: str, wanted: str) -> Choice:
    url = f"/login/begin?provider={quote(provider.entity, safe='')}"
    return Choice(
        name=provider.name(language),
        host=urlsplit(provider.entity).netloc or provider.entity,
        url=url if wanted == "/" else f"{url}&next={quote(wanted, safe='/')}",
        demonstration=provider.demonstration,
    )


class Begin:
    """Sends a browser to the identity provider that was chosen (SAML Profiles §4.1.3.2)."""

    for_strangers = is_login = True

    def __init__(self, pages: Pages) -> None:
        """Begin logins through the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Go there; the login is bound to this browser by a cookie."""
        self._go(req, resp, req.get_param("provider") or "")

    def _go(self, req: falcon.Request, resp: falcon.Response, entity: str) -> None:
        visit = visit_of(req)
        self._doors.providers.find(entity)
        bind(resp, visit)
        begun = self._doors.logins.begin(
            entity,
            browser=visit.browser,
            onward=onward(req.get_param("next") or "/"),
            mfa=self._doors.about.mfa or req.get_param("mfa") == "1",
            language=visit.language,
        )
        if len(entity) <= LONGEST_COOKIE and entity.isascii():
            keep(resp, PROVIDER, entity, age=YEAR)
        if begun.form is not None:
            self._pages.hand_over(req, resp, begun.form)
            return
        resp.status = falcon.HTTP_303
        resp.set_header("Location", begun.url)


class Discovered(Begin):
    """Where a discovery service of a federation sends the browser back to (Discovery Service Protocol 2.4.2).

    Its address is fixed in the metadata; whatever it names has to be known here.
    """

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Go on with the one that it names, or choose here if it names none."""
        entity = req.get_param("entityID") or ""
        if entity:
            return self._go(req, resp, entity)
        resp.status = falcon.HTTP_303
        resp.set_header("Location", "/login")
        return None


class Local:
    """Logging in with an account of this site."""

    for_strangers = is_login = True

    def __init__(self, pages: Pages) -> None:
        """Accounts behind the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the form."""
        bind(resp, visit_of(req))
        self._show(req, resp, onward(req.get_param("next") or "/"))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Log in, with a new password if there has to be one."""
        visit = visit_of(req)
        wanted = onward(visit.form.get("next", "/"))
        try:
            principal = self._principal(visit)
        except TooBusy:
            raise
        except (Unauthenticated, PasswordRefused) as error:
            self._refuse(req, resp, wanted, error)
            return
        if principal is None:
            self._show(req, resp, wanted, changing=True)
            return
        enter(self._doors, visit, resp, principal, Vouched(), how="account of this site")
        resp.status = falcon.HTTP_303
        resp.set_header("Location", wanted)

    def _principal(self, visit: Visit) -> Principal | None:
        """Who it is; None for somebody who has to choose a new password first."""
        form, new = visit.form, visit.form.get("new", "")
        if form.get("change") and new != form.get("again"):
            raise PasswordRefused(say(visit.language, "both have to be the same"))
        try:
            return self._doors.accounts.enter(
                form.get("name", ""),
                form.get("password", ""),
                form.get("code", "").strip(),
                new=new if form.get("change") else "",
                address=visit.address,
            )
        except PasswordChange:
            return None

    def _refuse(self, req: falcon.Request, resp: falcon.Response, wanted: str, error: NodeError) -> None:
        """Show the form again, and write down what was tried."""
        visit = visit_of(req)
        if isinstance(error, LoginRefused):
            self._doors.sessions.refused(
                who=self._doors.accounts.named(visit.form.get("name", "")),
                issuer=LOCAL,
                address=visit.address,
                how="account of this site",
                reason=str(error.args[0]),
            )
        changing = bool(visit.form.get("change"))
        if isinstance(error, SecondFactorNeeded):
            text = "Type your password again, and the code that your authenticator shows."
        elif isinstance(error, PasswordRefused):
            text = "This password cannot be used: {why}."
        else:
            text = "The account, the password or the code is wrong, or there were too many attempts."
        why = str(error.args[0]) if error.args else ""
        self._show(req, resp, wanted, changing=changing, trouble=say(visit.language, text, why=why))

    def _show(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        wanted: str,
        *,
        changing: bool = False,
        trouble: str = "",
    ) -> None:
        name = visit_of(req).form.get("name", "")[:64]
        status = falcon.HTTP_403 if trouble else falcon.HTTP_200
        self._pages.show(
            req,
            resp,
            "local.html",
            status=status,
            onward=wanted,
            changing=changing,
            trouble=trouble,
            name=name,
        )


class WithCertificate:
    """Logging in with the certificate that the browser showed in its handshake."""

    for_strangers = is_login = True

    def __init__(self, doors: Doors) -> None:
        """Recognise persons by these doors."""
        self._doors = doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Let its holder in."""
        visit = visit_of(req)
        shown = req.env.get(CERTIFICATE)
        try:
            if not shown:
                raise LoginRefused("the browser showed no certificate of a person")
            principal = self._doors.certificate(shown)
        except LoginRefused as error:
            self._doors.sessions.refused(
                who=f"certificate {(req.env.get(FINGERPRINT) or 'none')[:16]}",
                issuer="x509",
                address=visit.address,
                how="certificate",
                reason=str(error.args[0]),
            )
            raise
        bind(resp, visit)
        enter(self._doors, visit, resp, principal, Vouched(), how="certificate")
        resp.status = falcon.HTTP_303
        resp.set_header("Location", onward(req.get_param("next") or "/"))


def enter(
    doors: Doors,
    visit: Visit,
    resp: falcon.Response,
    principal: Principal,
    vouched: Vouched,
    *,
    how: str = "",
) -> None:
    """Begin a session with a new secret; what this browser had before is over."""
    token, session = doors.sessions.begin(principal, vouched, browser=visit.browser, how=how)
    if visit.session is not None:
        doors.sessions.end(visit.session)
    visit.session, visit.secret = session, token
    keep(resp, SESSION, token)


class Logout:
    """Leaving: here at once, then at the identity provider, if it knows how (SAML Profiles §4.4)."""

    for_strangers = True

    def __init__(self, pages: Pages) -> None:
        """Leave through the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say that one is logged out; nothing is ended by a link."""
        if visit_of(req).session is not None:
            resp.status = falcon.HTTP_303
            resp.set_header("Location", "/")
            return
        self._pages.show(req, resp, "left.html", there="")

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """End the session."""
        visit = visit_of(req)
        there = None
        if visit.session is not None:
            there = self._there(visit)
            self._doors.sessions.end(visit.session)
        drop(resp, SESSION)
        visit.session = visit.principal = None
        visit.secret = ""
        self._pages.show(req, resp, "left.html", there=there or "")

    def _there(self, visit: Visit) -> str | None:
        assert visit.session is not None
        try:
            return self._doors.logins.leave(visit.session.vouched.leaving)
        except NodeError as error:
            log.warning("no logout at the identity provider", extra={"error": str(error)})
            return None
