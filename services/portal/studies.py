"""The search: one form, all sites, each with what came of asking it."""

from __future__ import annotations

import falcon

from node.domain.errors import Malformed
from node.domain.principal import Action
from services.portal.asking import MOST, Answered, find_studies, wanted
from services.portal.pages import Pages
from services.portal.visit import visit_of
from services.portal.words import say


class Studies:
    """The search page. What is looked for is sent as a form: names of patients are not for addresses."""

    def __init__(self, pages: Pages) -> None:
        """Search through the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the empty form, to those who may find anything by it."""
        visit = visit_of(req)
        if not self._pages.may(visit, Action.QUERY):
            self._doors.demand(visit.person(), Action.QUERY)
        self._show(req, resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search, and show what was found below the form."""
        visit = visit_of(req)
        try:
            keys = wanted(visit.form)
            if not keys:
                raise Malformed(say(visit.language, "fill in at least one field"))
            found = find_studies(
                self._doors.search, visit.person(), keys, patience=self._doors.about.patience
            )
        except Malformed as error:
            self._show(req, resp, trouble=str(error.args[-1]))
            return
        self._show(req, resp, found=found)

    def _show(
        self, req: falcon.Request, resp: falcon.Response, *, found: Answered | None = None, trouble: str = ""
    ) -> None:
        status = falcon.HTTP_400 if trouble else falcon.HTTP_200
        self._pages.show(
            req,
            resp,
            "studies.html",
            status=status,
            form=visit_of(req).form,
            found=found,
            trouble=trouble,
            is_cut=found is not None and len(found.hits) >= MOST,
        )
