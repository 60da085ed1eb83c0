"""What the pages say of studies at other sites, and of sites that did not answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.domain.query import Query
from node.replication.federated_search import FederatedRows, Listed
from node.replication.site_answer import Answer, SiteAnswer
from services.portal.app import portal
from tests.support.portal import Browser, Portal

PRAGUE = SiteId("prague")
STUDY = "1.2.826.0.1.3680043.8.498.9"
VALUES = {
    0x00100010: "Dvořák^Emil=ドヴォルザーク",
    0x0020000D: STUDY,
    0x00081030: "Knee MR",
    0x00080020: "20260131",
}


@dataclass
class Prague:
    """A search that finds one study, in Prague alone."""

    answers: Sequence[SiteAnswer] = ()
    query: Query | None = None

    def search(self, principal: Principal, query: Query, *, patience: float) -> FederatedRows:
        self.query = query
        tags = tuple(sorted((key.tag, key.vr) for key in query.keys))
        result = FederatedRows(tags, iter(()))
        result.rows = self._rows(result)
        return result

    def _rows(self, result: FederatedRows) -> Iterator[Listed | None]:
        yield None
        yield Listed(tuple(VALUES.get(tag) for tag, _ in result.tags), PRAGUE, is_here=False)
        result.answers += self.answers


@pytest.fixture
def prague() -> Prague:
    return Prague()


@pytest.fixture
def browser(brno: Portal, prague: Prague) -> Browser:
    """The radiologist of Brno, whose portal finds what is in Prague."""
    brno.app = portal(replace(brno.doors, search=prague))  # type: ignore[arg-type]
    return brno.radiologist("radiologist")


def test_a_study_elsewhere_is_marked_with_its_site(browser: Browser) -> None:
    browser.get("/studies").submit("/studies", name="Dvořák, Emil")
    assert "Emil Dvořák" in browser.text
    assert "2026-01-31" in browser.text
    assert browser.tree.xpath("string(//tbody//*[@class='tag'])") == "prague"


def test_what_is_typed_is_asked_for_in_the_words_of_dicom(browser: Browser, prague: Prague) -> None:
    fields = {"name": "Dvořák, Emil", "since": "2026-01-01", "modality": "mr", "description": "knee"}
    browser.get("/studies").submit("/studies", **fields)
    assert prague.query is not None
    asked = {key.tag: key.value for key in prague.query.keys if key.value}
    assert asked == {
        0x00100010: "Dvořák*Emil*",
        0x00080020: "20260101-",
        0x00080061: "MR",
        0x00081030: "*knee*",
    }


def test_opening_says_from_where_the_images_come(browser: Browser) -> None:
    browser.get(f"/studies/{STUDY}")
    assert "The images are brought here from prague." in browser.text
    form = next(form for form in browser.tree.forms if form.action.endswith("/open"))
    assert form.fields["at"] == "prague"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (SiteAnswer(site=PRAGUE, state=Answer.TIMED_OUT), "did not answer in time or cannot be reached"),
        (SiteAnswer(site=PRAGUE, state=Answer.UNREACHABLE), "did not answer in time or cannot be reached"),
        (SiteAnswer(site=PRAGUE, state=Answer.REFUSED), "may not be asked, or does not let you"),
        (SiteAnswer(site=PRAGUE, state=Answer.ANSWERED, complete=False), "has more than it could tell"),
        (
            SiteAnswer(site=PRAGUE, state=Answer.STALE, as_of=10**15),
            "did not answer; shown is what it had told until 2001-09-09",
        ),
    ],
)
def test_a_site_that_did_not_answer_in_full_is_named(
    browser: Browser, prague: Prague, answer: SiteAnswer, said: str
) -> None:
    prague.answers = [answer]
    browser.get("/studies").submit("/studies", name="x")
    assert "Something may be missing" in browser.text
    assert f"prague: {said}" in browser.text


def test_where_all_have_answered_nothing_is_said_of_it(browser: Browser, prague: Prague) -> None:
    prague.answers = [SiteAnswer(site=PRAGUE, state=Answer.ANSWERED)]
    browser.get("/studies").submit("/studies", name="x")
    assert "Something may be missing" not in browser.text
