"""Where identity providers send browsers: the answer to a login, logouts both ways, and our metadata."""

from __future__ import annotations

from collections.abc import Mapping

import falcon

from node.domain.errors import Malformed, NodeError
from node.identity.providers.descriptor import POST, REDIRECT
from node.identity.sessions import Vouched
from services.portal.doors import Doors
from services.portal.login import enter
from services.portal.pages import Pages
from services.portal.visit import SESSION, bind, drop, onward, visit_of

METADATA = "application/samlmetadata+xml"


class Metadata:
    """What this service tells of itself (SAML Metadata §2.4.4)."""

    for_strangers = True

    def __init__(self, doors: Doors) -> None:
        """The metadata of these doors."""
        self._doors = doors

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Show them, signed."""
        resp.content_type = METADATA
        resp.set_header("Content-Disposition", 'inline; filename="konzilium-metadata.xml"')
        resp.data = self._doors.metadata()


class Consumer:
    """The assertion consumer service (SAML Profiles §4.1.4), by HTTP-POST (SAML Bindings §3.5)."""

    for_strangers = is_login = takes_foreign_forms = True

    def __init__(self, doors: Doors) -> None:
        """Let in whom these doors believe."""
        self._doors = doors

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Nobody comes here by a link, but for somebody who changes the language of an error."""
        resp.status = falcon.HTTP_303
        resp.set_header("Location", "/login")

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take in the answer to a login that this browser began."""
        visit = visit_of(req)
        response, relay = visit.form.get("SAMLResponse", ""), visit.form.get("RelayState", "")
        if not response:
            raise Malformed("the form brings no answer of an identity provider")
        try:
            came = self._doors.logins.finish(response, relay, browser=visit.browser, address=visit.address)
        except NodeError as error:
            why = str(error)
            self._doors.sessions.refused(who="", issuer="", address=visit.address, how="SAML", reason=why)
            raise
        vouched = Vouched(
            provider=came.provider.entity,
            name_id=came.name_id,
            session_index=came.session_index,
            leaving=came.leaving,
            until=came.until,
        )
        bind(resp, visit)
        enter(self._doors, visit, resp, came.principal, vouched, how="SAML")
        resp.status = falcon.HTTP_303
        resp.set_header("Location", onward(came.onward))


class SingleLogout:
    """The single logout service, by HTTP-Redirect and HTTP-POST (SAML Profiles §4.4).

    What comes here need not bring the cookie of the session: the signed message says whose it is.
    """

    for_strangers = takes_foreign_forms = True

    def __init__(self, pages: Pages) -> None:
        """Log out through the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take in a message from the query, whose octets are signed as they came."""
        self._take(req, resp, req.query_string, REDIRECT)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take in a message from a form."""
        self._take(req, resp, visit_of(req).form, POST)

    def _take(
        self, req: falcon.Request, resp: falcon.Response, sent: str | Mapping[str, str], binding: str
    ) -> None:
        visit = visit_of(req)
        heard = self._doors.logins.hear_logout(sent, binding)
        if heard.asked:
            self._doors.sessions.end_named(heard.provider.entity, heard.name_id, heard.session_indexes)
        if visit.session is not None and self._doors.sessions.find(visit.secret) is None:
            drop(resp, SESSION)
            visit.session = visit.principal = None
        if heard.answer_form is not None:
            self._pages.hand_over(req, resp, heard.answer_form)
            return
        resp.status = falcon.HTTP_303
        resp.set_header("Location", heard.answer_url or "/logout")
