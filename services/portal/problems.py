"""Errors as pages: what happened, in words for the person who is there, and what to do about it.

A page names what is wrong with what the person did or with the provider that was used. What is wrong with a
message, and why a study is refused, only the log says, by the reference number on the page; who may read the
audit record or gives roles is told at once.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import falcon

from node.domain.errors import (
    AccessDenied,
    AttributeMissing,
    Damaged,
    Forbidden,
    LoginRefused,
    Malformed,
    NodeError,
    NoWholeCopy,
    PasswordRefused,
    PeerUnreachable,
    Rejected,
    SecondFactorNeeded,
    TooBusy,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unknown,
    UnknownProvider,
    UnknownStudy,
)
from node.domain.principal import Action
from services.portal.pages import Pages
from services.portal.visit import visit_of
from services.portal.words import say

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """How a page tells of an error."""

    status: str
    heading: str
    advice: str
    is_told: bool = False
    """Whether the words of the error are for everybody, not for the log alone."""


MISSING: Final = "{institution} did not tell {attribute}; ask {contact} to release it to this service."
AGAIN: Final = "Go back and try again; if that does not help, tell the support the reference number."
PROBLEMS: Final = MappingProxyType(
    {
        NodeError: Problem(falcon.HTTP_500, "Something went wrong", AGAIN),
        Rejected: Problem(falcon.HTTP_409, "That cannot be done", AGAIN, is_told=True),
        Malformed: Problem(falcon.HTTP_400, "That could not be read", AGAIN, is_told=True),
        TooLarge: Problem(falcon.HTTP_413, "That was too long", AGAIN),
        Unknown: Problem(falcon.HTTP_404, "There is no such thing here", AGAIN),
        UnknownStudy: Problem(
            falcon.HTTP_404,
            "There is no such study",
            "No site that answered has it, or none may show it to you. Search for it again.",
        ),
        UnknownProvider: Problem(
            falcon.HTTP_404,
            "This institution is not known here",
            "Choose another one; if yours is not among them, ask the support of this portal to add it.",
        ),
        PasswordRefused: Problem(falcon.HTTP_400, "This password cannot be used", AGAIN, is_told=True),
        AccessDenied: Problem(falcon.HTTP_403, "You may not do this", AGAIN),
        Unauthenticated: Problem(falcon.HTTP_403, "The login did not succeed", AGAIN),
        LoginRefused: Problem(
            falcon.HTTP_403,
            "The login did not succeed",
            "Start the login again from this portal, in this browser. If it fails again, tell the support "
            "the reference number.",
        ),
        AttributeMissing: Problem(
            falcon.HTTP_403,
            "Your institution did not tell enough about you",
            "Your login there was right. Forward this page to the address that it names, and log in again "
            "when they have changed it.",
            is_told=True,
        ),
        SecondFactorNeeded: Problem(
            falcon.HTTP_403,
            "This needs a login with a second factor",
            "Your institution did not confirm one. Register a second factor there, then log in again.",
            is_told=True,
        ),
        Forbidden: Problem(
            falcon.HTTP_403,
            "You may not do this",
            "If you need it for your work, tell the support the reference number.",
        ),
        Unavailable: Problem(falcon.HTTP_503, "This is not possible now", "Try again in a moment."),
        TooBusy: Problem(falcon.HTTP_429, "Too many requests came at once", "Try again in a moment."),
        PeerUnreachable: Problem(
            falcon.HTTP_503, "Another site cannot be reached now", "Try again in a moment."
        ),
        NoWholeCopy: Problem(
            falcon.HTTP_503,
            "No whole copy of the images can be had now",
            "They are repaired as soon as a site that has them can be reached.",
        ),
        Damaged: Problem(
            falcon.HTTP_500,
            "What is stored is damaged",
            "The node has noticed and repairs it from another site. Try again later.",
        ),
    }
)
"""The page for each class of errors; of several that fit, the most derived one holds."""


_USUAL: Final = {"told": "", "own_words": False, "reasons": (), "step_up": "", "emergency": ""}


def problem_of(error: NodeError) -> Problem:
    """The page that tells of this error."""
    lineage = [kind for kind in type(error).__mro__ if issubclass(kind, NodeError)]
    return next(PROBLEMS[kind] for kind in lineage if kind in PROBLEMS)


class Problems:
    """Answers with a page when a page could not be made."""

    def __init__(self, pages: Pages) -> None:
        """Tell of errors on pages like these."""
        self._pages = pages

    def add_to(self, app: falcon.App[falcon.Request, falcon.Response]) -> None:
        """Answer all errors of an application so."""
        app.add_error_handler(Exception, self._unexpected)
        app.add_error_handler(falcon.HTTPError, self._http)
        app.add_error_handler(NodeError, self._known)

    def _known(
        self, req: falcon.Request, resp: falcon.Response, error: NodeError, params: dict[str, object]
    ) -> None:
        problem, reference = problem_of(error), _reference()
        told = {"reference": reference, "error": type(error).__name__, "why": _for_log(error)}
        log.info("a page was refused", extra=told)
        if isinstance(error, Unavailable):
            resp.set_header("Retry-After", str(error.retry_after or 5))
        study = str(params.get("uid", "")) if isinstance(error, Forbidden) else ""
        self._show(
            req,
            resp,
            problem,
            reference,
            told=_told(error, visit_of(req).language) if problem.is_told else "",
            own_words=isinstance(error, AttributeMissing),
            **self._ways_on(req, study),
        )

    def _http(
        self, req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: object
    ) -> None:
        for name, value in (error.headers or {}).items() if isinstance(error.headers, dict) else ():
            resp.set_header(name, value)
        status = str(error.status)
        self._show(req, resp, _plain(status, is_form=error.title == "form"), _reference())

    def _unexpected(
        self, req: falcon.Request, resp: falcon.Response, error: Exception, _params: object
    ) -> None:
        reference = _reference()
        log.error(
            "a page failed", extra={"reference": reference, "error": type(error).__name__}, exc_info=error
        )
        self._show(req, resp, PROBLEMS[NodeError], reference)

    def _ways_on(self, req: falcon.Request, study: str) -> dict[str, object]:
        """What would change the answer, and the reasons, for who may know them."""
        visit = visit_of(req)
        if not study or visit.principal is None:
            return {}
        decision = self._pages.doors.why(visit.principal, Action.RETRIEVE, study)
        knows = any(
            self._pages.doors.why(visit.principal, action, "").allowed
            for action in (Action.AUDIT, Action.GRANT)
        )
        entity = visit.session.vouched.provider if visit.session else ""
        again = (
            f"/login/begin?provider={quote(entity, safe='')}&mfa=1&next=/studies/{study}" if entity else ""
        )
        return {
            "reasons": [decision.reason, *decision.reasons] if knows else (),
            "step_up": again if decision.step_up else "",
            "emergency": _glass(study, visit.form.get("at", ""))
            if decision.emergency and not decision.allowed
            else "",
        }

    def _show(
        self, req: falcon.Request, resp: falcon.Response, problem: Problem, reference: str, **more: object
    ) -> None:
        values: dict[str, Any] = _USUAL | more
        self._pages.show(
            req, resp, "problem.html", status=problem.status, problem=problem, reference=reference, **values
        )


def _plain(status: str, *, is_form: bool) -> Problem:
    if is_form:
        return Problem(
            status,
            "This form is out of date",
            "It was not sent from a page of this portal that is still open for you. Go back, load the page "
            "again and repeat it.",
        )
    if status.startswith("404"):
        return Problem(status, "There is no such page", "See the address, or begin at the first page.")
    if status.startswith("405"):
        return Problem(status, "That cannot be done here", "Go back and follow a link or a button.")
    return Problem(status, "That could not be read", AGAIN)


def _for_log(error: NodeError) -> str:
    """Why, without the name of the person, which is in the audit record."""
    return str(error.args[-1]) if isinstance(error, Forbidden) and error.args else str(error)


def _told(error: NodeError, language: str) -> str:
    """What an error says of what the person, or the institution, has to mend."""
    if isinstance(error, AttributeMissing):
        names = ("institution", "attribute", "contact")
        return say(language, MISSING, **dict(zip(names, error.args, strict=False)))
    return str(error)


def _glass(study: str, at: str) -> str:
    """Where a study at that site is opened in an emergency."""
    return f"/emergency/{study}?at={quote(at, safe='')}" if at else f"/emergency/{study}"


def _reference() -> str:
    """A number by which a page is found in the log."""
    return secrets.token_hex(4).upper()
