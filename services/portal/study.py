"""One study: what is catalogued of it anywhere, opened on demand, taken away as files."""

from __future__ import annotations

from collections import Counter

import falcon

from node.domain.errors import Forbidden, MalformedIdentifier, UnknownStudy
from node.domain.ids import StudyUID
from node.domain.principal import Action
from services.portal.asking import Answered, find_series
from services.portal.doors import Doors
from services.portal.opening import Opened
from services.portal.pages import Pages
from services.portal.visit import visit_of


def study_of(uid: str) -> StudyUID:
    """The study that a path names.

    Raises:
        UnknownStudy: it names none.
    """
    try:
        return StudyUID(uid)
    except MalformedIdentifier:
        raise UnknownStudy("of this name") from None


class Study:
    """The page of a study."""

    def __init__(self, pages: Pages) -> None:
        """A study as the doors of these pages know it."""
        self._pages = pages
        self._doors = pages.doors

    def on_get(self, req: falcon.Request, resp: falcon.Response, uid: str) -> None:
        """Show what is catalogued; no image is opened by that."""
        self.show(req, resp, study_of(uid))

    def show(
        self, req: falcon.Request, resp: falcon.Response, study: StudyUID, opened: Opened | None = None
    ) -> None:
        """Show the page, with the images where they were opened."""
        found = self._series(req, study)
        here = Counter(one.series for one in opened.instances) if opened else Counter()
        self._pages.show(
            req,
            resp,
            "study.html",
            study=found.hits[0],
            series=found.hits,
            found=found,
            opened=opened,
            came={str(series): count for series, count in here.items()},
        )

    def _series(self, req: falcon.Request, study: StudyUID) -> Answered:
        """The series of the study.

        Raises:
            Forbidden: it is here, and the person may learn what would open it.
            UnknownStudy: no site shows it.
        """
        person = visit_of(req).person()
        found = find_series(self._doors.search, person, study, patience=self._doors.about.patience)
        if found.hits:
            return found
        decision = self._doors.why(person, Action.QUERY, study)
        if not decision.allowed:
            self._doors.refused(person, Action.QUERY, study, decision)
        if not decision.allowed and (decision.step_up or decision.emergency or self._knows(req)):
            raise Forbidden(person, Action.QUERY, decision.reason)
        raise UnknownStudy(study)

    def _knows(self, req: falcon.Request) -> bool:
        """Whether the person may read the record, or gives roles, and so may know why."""
        person = visit_of(req).person()
        return any(self._doors.why(person, action, "").allowed for action in (Action.AUDIT, Action.GRANT))


class Open:
    """Opens a study: the policy is asked, and what is elsewhere is brought here."""

    def __init__(self, pages: Pages) -> None:
        """Open studies through the doors of these pages."""
        self._doors = pages.doors
        self._study = Study(pages)

    def on_get(self, _req: falcon.Request, resp: falcon.Response, uid: str) -> None:
        """Nothing is opened by a link; the page of the study has the button."""
        resp.status = falcon.HTTP_303
        resp.set_header("Location", f"/studies/{study_of(uid)}")

    def on_post(self, req: falcon.Request, resp: falcon.Response, uid: str) -> None:
        """Open it, and show how far it is."""
        study = study_of(uid)
        opened = self._doors.opening.open(visit_of(req).person(), study)
        self._study.show(req, resp, study, opened)


class Download:
    """Gives the files of a study that was opened."""

    def __init__(self, doors: Doors) -> None:
        """Files behind these doors."""
        self._doors = doors

    def on_post(self, req: falcon.Request, resp: falcon.Response, uid: str) -> None:
        """All files that are here, as one ZIP file."""
        instances = self._doors.opening.files(visit_of(req).person(), study_of(uid))
        resp.content_type = "application/zip"
        resp.set_header("Content-Disposition", 'attachment; filename="study.zip"')
        resp.stream = self._doors.opening.packed(instances)
