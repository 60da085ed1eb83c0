"""The first page, and help."""

from __future__ import annotations

from typing import Final

import falcon

from node.domain.errors import UnknownProvider
from node.domain.principal import Action
from services.portal.pages import Pages
from services.portal.visit import visit_of
from services.portal.words import say

RIGHTS: Final = {
    Action.QUERY: "Find studies and read what is catalogued of them",
    Action.RETRIEVE: "Open and download images",
    Action.STORE: "Bring images in",
    Action.AMEND: "Correct, merge, withdraw, restore and lock what is archived",
    Action.ADMINISTER: "Set up devices and look after the node",
    Action.FEDERATE: "Settle with which sites data are exchanged",
    Action.GRANT: "Grant and take away roles",
    Action.AUDIT: "Read who saw what",
    Action.REVIEW: "Review emergency access",
    Action.REQUEST: "Ask for de-identified data sets",
    Action.APPROVE: "Let out data sets that others ask for",
}
"""What each action means to a person."""


class Home:
    """Who I am here, and what I may."""

    def __init__(self, pages: Pages, *, idle_minutes: float = 0) -> None:
        """The first page of these pages."""
        self._pages = pages
        self._idle = round(idle_minutes)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        visit = visit_of(req)
        assert visit.session is not None
        self._pages.show(
            req,
            resp,
            "home.html",
            ends=visit.session.until_at,
            idle=self._idle,
            vouched_by=self._voucher(visit.person().issuer, visit.language),
            rights=[text for action, text in RIGHTS.items() if self._pages.may(visit, action)],
        )

    def _voucher(self, issuer: str, language: str) -> str:
        """Who vouches for the person, as people call it."""
        if issuer == "local":
            return say(language, "this site itself")
        if issuer.startswith("x509:"):
            return issuer.removeprefix("x509:")
        try:
            return self._pages.doors.providers.find(issuer).name(language)
        except UnknownProvider:
            return issuer


class Help:
    """How all this works, in few words."""

    for_strangers = True

    def __init__(self, pages: Pages) -> None:
        """The help of these pages."""
        self._pages = pages

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        self._pages.show(req, resp, "help.html")
