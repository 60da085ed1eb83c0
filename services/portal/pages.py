"""Pages: templates with the words of a language, and the headers that keep them to themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import falcon
from jinja2 import Environment, PackageLoader, StrictUndefined

from node.domain.principal import Action, Principal
from node.identity.saml.sp import Form
from services.portal.doors import Doors
from services.portal.visit import Visit, visit_of
from services.portal.words import LANGUAGES, say

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'{more}; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content Security Policy: no script at all, nothing from elsewhere (CSP Level 3)."""
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
HSTS: Final = "max-age=31536000"


class Pages:
    """Makes the pages of a portal."""

    def __init__(self, doors: Doors) -> None:
        """Pages about the site of these doors."""
        self.doors = doors
        self._templates = Environment(
            loader=PackageLoader("services.portal"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["moment"] = moment
        self._templates.filters["day"] = day
        self._templates.filters["person_name"] = person_name

    def show(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        template: str,
        *,
        status: str = falcon.HTTP_200,
        forms_to: str = "",
        **values: Any,
    ) -> None:
        """Answer with a page.

        Args:
            req: who asks.
            resp: the answer.
            template: its file.
            status: of the answer.
            forms_to: another origin that a form of this page is sent to.
            values: what the page is about.
        """
        visit = visit_of(req)
        resp.status = status
        resp.content_type = falcon.MEDIA_HTML
        resp.set_header("Content-Language", visit.language)
        if forms_to:
            resp.set_header("Content-Security-Policy", POLICY.format(more=f" {forms_to}"))
        resp.text = self._templates.get_template(template).render(
            _=partial(say, visit.language),
            language=visit.language,
            languages=LANGUAGES,
            about=self.doors.about,
            me=visit.principal,
            token=visit.token,
            here=req.path,
            may=partial(self.may, visit),
            **values,
        )

    def hand_over(self, req: falcon.Request, resp: falcon.Response, form: Form) -> None:
        """Answer with a form for an identity provider that takes nothing else; the person sends it off."""
        place = urlsplit(form.action)
        self.show(req, resp, "onward.html", form=form, forms_to=f"{place.scheme}://{place.netloc}")

    def may(self, visit: Visit, action: str) -> bool:
        """Whether there is anything on which the person may do this, as far as links and forms go."""
        return visit.principal is not None and self.allows(visit.principal, Action(action))

    def allows(self, principal: Principal, action: Action) -> bool:
        """The same for a person; the door behind the page asks again."""
        decision = self.doors.why(principal, action, "")
        return decision.allowed or decision.step_up or decision.emergency


def moment(at: int) -> str:
    """A moment in microseconds since 1970, in the time of this machine."""
    local = datetime.fromtimestamp(at / 1_000_000, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M")


def day(text: str | None) -> str:
    """A DICOM date (PS3.5 6.2, DA) as people read one."""
    if text and len(text) == 8 and text.isdigit():
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return text or ""


def person_name(text: str | None) -> str:
    """A DICOM person name (PS3.5 6.2.1, PN) as people read one."""
    alphabetic, *groups = (text or "").split("=")
    shown = next(filter(None, [alphabetic, *groups]), "")
    family, given, middle, prefix, suffix = (*shown.split("^"), "", "", "", "", "")[:5]
    front = " ".join(filter(None, [prefix, given, middle, family]))
    return ", ".join(filter(None, [front, suffix]))
