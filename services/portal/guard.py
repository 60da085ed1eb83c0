"""What stands before every page: who is there, whether the request comes from one of our pages, how much.

```
request ──▶ host ──▶ rate ──▶ language, session ──▶ form, and its token ──▶ the page
             │        │            │                     │
             ▼        ▼            ▼                     ▼
        our address  429      the login page        403, nothing done
```
"""

from __future__ import annotations

import hmac
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import falcon

from node.domain.errors import Malformed, TooLarge
from node.identity.sessions import LONGEST_TOKEN
from services.https.rate import Rate
from services.portal.doors import Doors
from services.portal.pages import HEADERS, HSTS, POLICY
from services.portal.visit import (
    BROWSER,
    LANGUAGE,
    SESSION,
    TOKEN,
    YEAR,
    Visit,
    cookie,
    drop,
    keep,
    visit_of,
)
from services.portal.words import LANGUAGES, preferred

FORM: Final = "application/x-www-form-urlencoded"
LONGEST_FORM: Final = 16 * 1024
LONGEST_MESSAGE: Final = 512 * 1024
"""Bytes of a form with a SAML message."""
MOST_FIELDS: Final = 40
PAGE_RATE, PAGE_BURST = 20.0, 200.0
"""Requests of one address a second, and at once: a hospital may come from one."""
LOGIN_RATE, LOGIN_BURST = 5.0, 100.0
"""Steps of logins from one address."""


class Guard:
    """Looks at each request before its page does (falcon middleware)."""

    def __init__(self, doors: Doors) -> None:
        """Guard the portal of a site."""
        self._doors = doors
        self._host = urlsplit(doors.about.url).netloc.lower()
        self._pages = Rate(per_second=PAGE_RATE, burst=PAGE_BURST)
        self._logins = Rate(per_second=LOGIN_RATE, burst=LOGIN_BURST)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Find out who is there.

        Raises:
            TooBusy: this address asks too often.
            falcon.HTTPStatus: the browser is sent to the address of the portal.
        """
        address = str(req.env.get("REMOTE_ADDR", ""))
        visit = Visit(language=preferred(req, self._doors.about.language), address=address)
        req.context.visit = visit
        self._see_host(req)
        self._choose_language(req, resp, visit)
        self._pages.demand(address)
        if req.path.startswith("/static/"):
            return
        visit.browser = cookie(req, BROWSER)
        secret = cookie(req, SESSION)
        if secret and len(secret) <= LONGEST_TOKEN:
            self._find_session(resp, visit, secret)

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Let strangers to the pages for strangers alone, and read the form.

        Raises:
            falcon.HTTPStatus: the person has to log in first.
            falcon.HTTPForbidden: the form is not one of ours.
        """
        visit = visit_of(req)
        if visit.principal is None and not getattr(resource, "for_strangers", False):
            raise _to_login(req)
        if getattr(resource, "is_login", False):
            self._logins.demand(visit.address)
        if req.method == "POST":
            foreign = bool(getattr(resource, "takes_foreign_forms", False))
            visit.form = _form(req, LONGEST_MESSAGE if foreign else LONGEST_FORM)
            if not foreign:
                self._see_origin(req, visit)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Put the headers on every answer."""
        for name, value in HEADERS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, value)
        if resp.get_header("Content-Security-Policy") is None:
            resp.set_header("Content-Security-Policy", POLICY.format(more=""))
        if not self._doors.about.demonstration:
            resp.set_header("Strict-Transport-Security", HSTS)
        resp.append_header("Vary", "Accept-Language, Cookie")

    def _see_host(self, req: falcon.Request) -> None:
        """Cookies and logins belong to one address; a browser that came by another one goes there."""
        if req.netloc.lower() in (self._host, f"{self._host}:443"):
            return
        if req.method not in ("GET", "HEAD"):
            raise falcon.HTTPError(falcon.HTTP_421)
        query = f"?{req.query_string}" if req.query_string else ""
        raise falcon.HTTPStatus(
            falcon.HTTP_307, headers={"Location": f"{self._doors.about.url}{quote(req.path)}{query}"}
        )

    def _choose_language(self, req: falcon.Request, resp: falcon.Response, visit: Visit) -> None:
        wished = req.get_param("language") or ""
        if wished in LANGUAGES:
            keep(resp, LANGUAGE, wished, age=YEAR)
        elif (wished := cookie(req, LANGUAGE)) not in LANGUAGES:
            return
        visit.language = wished

    def _find_session(self, resp: falcon.Response, visit: Visit, secret: str) -> None:
        visit.session = self._doors.sessions.find(secret, address=visit.address)
        if visit.session is None:
            drop(resp, SESSION)
            return
        visit.secret = secret
        visit.principal = self._doors.standing(visit.session.principal)

    def _see_origin(self, req: falcon.Request, visit: Visit) -> None:
        """See that a form came from a page that was made for this browser."""
        site = req.get_header("Sec-Fetch-Site")
        origin = req.get_header("Origin")
        is_ours = site in (None, "same-origin", "none") and origin in (None, self._doors.about.url)
        known = visit.secret or visit.browser
        if not is_ours or not known or not hmac.compare_digest(visit.form.get(TOKEN, ""), visit.token):
            raise falcon.HTTPForbidden(title="form")


def _to_login(req: falcon.Request) -> falcon.HTTPStatus:
    """To the login page, and back to this one after that."""
    wanted = req.path if req.method == "GET" else "/"
    place = "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"
    return falcon.HTTPStatus(falcon.HTTP_303, headers={"Location": place})


def _form(req: falcon.Request, longest: int) -> dict[str, str]:
    """The fields of a form, each once.

    Raises:
        Malformed, TooLarge: it cannot be read, or is too long.
    """
    if (req.content_type or "").partition(";")[0].strip().lower() != FORM:
        raise Malformed("this is not a form of the portal")
    if req.content_length is None:
        raise Malformed("the length of the form was not said")
    if req.content_length > longest:
        raise TooLarge(longest)
    try:
        text = req.bounded_stream.read(longest).decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise Malformed("the form cannot be read") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Malformed("a field of the form came twice")
    return form
