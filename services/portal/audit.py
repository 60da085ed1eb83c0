"""Who saw what: the accounting of disclosures of one patient or study, from all sites that answer."""

from __future__ import annotations

from typing import Final

import falcon

from node.domain.principal import Action
from node.replication.accounting import Account
from services.portal.pages import Pages
from services.portal.visit import visit_of
from services.portal.words import say

LONGEST: Final = 64
MOST: Final = 500
"""Rows that a page shows, the latest; the command line gives all of them."""


class Audit:
    """The page for auditors; that it was asked is in the record, too."""

    def __init__(self, pages: Pages) -> None:
        """Ask the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the form, to those who may use it."""
        self._doors.demand(visit_of(req).person(), Action.AUDIT)
        self._show(req, resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show who had to do with a patient or a study."""
        visit = visit_of(req)
        asked = {name: visit.form.get(name, "").strip() for name in ("patient", "issuer", "study")}
        if not asked["patient"] and not asked["study"]:
            self._show(req, resp, trouble=say(visit.language, "name a patient or a study"))
            return
        if any(len(text) > LONGEST or not text.isprintable() for text in asked.values()):
            self._show(req, resp, trouble=say(visit.language, "up to 64 characters each"))
            return
        self._doors.demand(visit.person(), Action.AUDIT)
        accounting = self._doors.accounting
        told = accounting.who(
            visit.person(),
            patient=accounting.named(asked["patient"], asked["issuer"] or None) if asked["patient"] else "",
            study=asked["study"],
            everywhere=visit.form.get("here") != "1",
        )
        self._show(req, resp, told=told)

    def _show(
        self, req: falcon.Request, resp: falcon.Response, *, told: Account | None = None, trouble: str = ""
    ) -> None:
        rows = told.rows[-MOST:][::-1] if told else ()
        self._pages.show(
            req,
            resp,
            "audit.html",
            status=falcon.HTTP_400 if trouble else falcon.HTTP_200,
            form=visit_of(req).form,
            told=told,
            rows=rows,
            trouble=trouble,
        )
