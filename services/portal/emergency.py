"""Access in an emergency, and the review that follows every one."""

from __future__ import annotations

import falcon

from node.domain.emergency import Verdict
from node.domain.errors import Malformed, MalformedIdentifier, Rejected, UnknownEmergency
from node.domain.ids import SiteId
from node.identity.emergencies import LONGEST, SHORTEST
from services.portal.pages import Pages
from services.portal.study import study_of
from services.portal.visit import visit_of


class Emergency:
    """Opens a study that is closed to the person, who says why."""

    def __init__(self, pages: Pages) -> None:
        """Break the glass of the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response, uid: str) -> None:
        """Ask for the reason, and say what follows."""
        self._show(req, resp, study_of(uid), at=req.get_param("at") or "")

    def on_post(self, req: falcon.Request, resp: falcon.Response, uid: str) -> None:
        """Open it; the page of the study comes next."""
        visit, study = visit_of(req), study_of(uid)
        reason, at = visit.form.get("reason", ""), visit.form.get("at", "")
        length = len(" ".join(reason.split()))
        if not SHORTEST <= length <= LONGEST or not visit.form.get("understood"):
            self._show(req, resp, study, at=at, reason=reason, is_wrong=True)
            return
        self._doors.emergencies.break_glass(visit.person(), study, reason, at=_site(at))
        resp.status = falcon.HTTP_303
        resp.set_header("Location", f"/studies/{study}")

    def _show(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        study: str,
        *,
        at: str,
        reason: str = "",
        is_wrong: bool = False,
    ) -> None:
        self._pages.show(
            req,
            resp,
            "emergency.html",
            status=falcon.HTTP_400 if is_wrong else falcon.HTTP_200,
            study=study,
            at=at[:64],
            reason=reason[:LONGEST],
            shortest=SHORTEST,
            longest=LONGEST,
            is_wrong=is_wrong,
        )


def _site(name: str) -> SiteId | None:
    try:
        return SiteId(name) if name else None
    except MalformedIdentifier:
        raise Malformed("this is no site") from None


class Reviews:
    """What was opened in emergencies and waits for a second person."""

    def __init__(self, pages: Pages) -> None:
        """Review through the doors of these pages."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show what waits."""
        person = visit_of(req).person()
        waiting = self._doors.emergencies.waiting(person)
        me = f"{person.issuer} {person.name}"
        self._pages.show(req, resp, "reviews.html", waiting=waiting, own=me, longest=LONGEST)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Judge one."""
        visit = visit_of(req)
        number, verdict = visit.form.get("number", ""), visit.form.get("verdict", "")
        if not (number.isascii() and number.isdigit() and len(number) < 18):
            raise UnknownEmergency(number[:18])
        if verdict not in set(Verdict):
            raise Rejected("say whether it was justified")
        note = visit.form.get("note", "").replace("\r\n", "\n").strip()
        self._doors.emergencies.review(visit.person(), int(number), Verdict(verdict), note)
        resp.status = falcon.HTTP_303
        resp.set_header("Location", "/reviews")
