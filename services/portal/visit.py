"""One request of a browser: who is there, in which language, and what the form said."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import falcon

from node.domain.principal import Principal
from node.identity.sessions import Session, form_token

SESSION: Final = "__Host-konzilium"
"""The cookie of a session; the prefix keeps it to this host, this path and HTTPS (RFC 6265bis 4.1.3.2)."""
BROWSER: Final = "__Host-konzilium-login"
"""The cookie that a login is bound to. It has to come with the POST from the identity provider's site."""
LANGUAGE: Final = "__Host-konzilium-language"
PROVIDER: Final = "__Host-konzilium-provider"
"""The identity provider that was chosen last."""
TOKEN: Final = "token"  # noqa: S105 - the name of a field
"""The field of every form that shows it was made for this browser."""
YEAR: Final = 365 * 86400
LONGEST_SECRET: Final = 64
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Visit:
    """What is known of a request before its page is made."""

    language: str
    address: str
    session: Session | None = None
    principal: Principal | None = None
    """The person with what was granted, as of now."""
    secret: str = ""
    """What the cookie of the session holds."""
    browser: str = ""
    """What the login cookie holds."""
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What forms made for this browser bring with them."""
        return form_token(self.secret or self.browser)

    def person(self) -> Principal:
        """Who is logged in, where the page is only for those."""
        assert self.principal is not None, "the guard lets nobody in without a session"
        return self.principal


def visit_of(req: falcon.Request) -> Visit:
    """What the guard found out about a request."""
    visit: Visit = req.context.visit
    return visit


def cookie(req: falcon.Request, name: str) -> str:
    """The value of a cookie; nothing where there is none, more than one, or too long a one."""
    values = req.get_cookie_values(name) or []
    return values[0] if len(values) == 1 and len(values[0]) <= LONGEST_SECRET else ""


def keep(
    resp: falcon.Response, name: str, value: str, *, same_site: str = "Lax", age: int | None = None
) -> None:
    """Have the browser keep a cookie, for so many seconds or until it is closed."""
    resp.set_cookie(name, value, max_age=age, path="/", secure=True, http_only=True, same_site=same_site)


def drop(resp: falcon.Response, name: str) -> None:
    """Have the browser forget a cookie."""
    resp.set_cookie(name, "", expires=_LONG_AGO, path="/", secure=True, http_only=True, same_site="Lax")


def bind(resp: falcon.Response, visit: Visit) -> None:
    """See that the browser holds the secret that a login is bound to."""
    if not visit.browser:
        visit.browser = secrets.token_urlsafe(32)
        keep(resp, BROWSER, visit.browser, same_site="None")


def onward(text: str) -> str:
    """Where a person goes after a login: a path of this portal and nothing else; `/` for all other texts."""
    is_path = text.startswith("/") and not text.startswith(("//", "/\\")) and len(text) <= 512
    if not is_path or not text.isascii() or not text.isprintable() or "\\" in text:
        return "/"
    return text
