"""A site asks all sites at once for what it does not have; the other one writes down who asked."""

from __future__ import annotations

from node.audit.record import Deed, read
from services.cli.demo.stage import At, Stage


def ask_everywhere(stage: Stage) -> None:
    """Brno finds and fetches a study that only Prague has."""
    story, prague = stage.story, stage.prague
    story.step("7. Prague keeps a study to itself, and somebody in Brno looks for it.")
    stage.konzilium("rule", "add", prague.node.directory, "ct", "--modality", "CT")
    story.typed("rule add prague ct --modality CT        (only CT is copied from now on)")
    story.sent(prague.scanner.store(stage.files.rare))
    study = stage.files.rare[0].study
    before = head(prague)
    _find_and_fetch(stage, study)
    _who_did_it(stage, study, before)


def _find_and_fetch(stage: Stage, study: str) -> None:
    story, brno = stage.story, stage.brno
    here = brno.viewer.find(StudyInstanceUID=study)
    far = brno.far_viewer.find(StudyInstanceUID=study, InstanceAvailability="", ModalitiesInStudy="")
    where = far[0].InstanceAvailability if far else "nowhere"
    story.claim(
        not here and len(far) == 1,
        f"{brno.node.ae_title} does not have it; {brno.node.everywhere} asks all sites and finds it: {where}",
    )
    pairs = {(sent.offer.sop_class, sent.offer.transfer_syntax) for sent in stage.files.rare}
    fetched = brno.far_viewer.get(study, pairs)
    same = all(fetched.get(sent.offer.instance) == sent.dataset for sent in stage.files.rare)
    story.claim(same, "fetched through Brno, byte for byte what the scanner at Prague had sent")


def _who_did_it(stage: Stage, study: str, before: int) -> None:
    """What Prague has written down."""
    asked = f"device:VIEWER@{stage.brno.node.name}"
    written = [deed for deed in deeds(stage.prague, before) if deed.who == asked]
    stage.story.claim(
        any(deed.study == study for deed in written),
        "the audit of Prague says who it was:",
    )
    for line in sorted({f"{deed.who}  {deed.event}" for deed in written}):
        stage.story.say(f"        {line}")


def head(at: At) -> int:
    """The number of the last record in the audit of a site."""
    with at.site.catalog.reading() as unit:
        return unit.audit.head().seq


def deeds(at: At, after: int) -> list[Deed]:
    """What the audit of a site holds after a number."""
    with at.site.catalog.reading() as unit:
        return [read(record.deed) for record in unit.audit.after(after)]
