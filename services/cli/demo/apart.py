"""The link is cut and both sites go on; it heals, and both say the same."""

from __future__ import annotations

from services.cli.demo.proof import compare_with_sent
from services.cli.demo.stage import At, Stage

EARLIER, LATER = "Water phantom, weekly check", "Water phantom, monthly check"
REASON = "demonstration"


def cut(stage: Stage) -> None:
    """The link is cut; both sites receive studies, and both decide about the same one."""
    story, brno, prague = stage.story, stage.brno, stage.prague
    story.step("5. The link is cut. Both sites go on without each other.")
    stage.konzilium("suspend", brno.node.directory, prague.node.name, "--reason", REASON)
    story.typed("suspend brno prague")
    compare_with_sent(stage, prague, "Prague needs no Brno for it")
    for at, files in ((brno, stage.files.later_here), (prague, stage.files.later_there)):
        counts = story.sent(at.scanner.store(files))
        studies = {sent.study for sent in files}
        story.claim(
            counts["success"] == len(files),
            f"{at.node.name} receives {len(files)} files of {len(studies)} other studies",
        )
    _describe(stage, brno, EARLIER)
    _describe(stage, prague, LATER)
    _withdraw(stage, prague)
    _differ(stage)


def _differ(stage: Stage) -> None:
    brno, prague = stage.brno, stage.prague
    told = [_description(at, stage.phantom) for at in (brno, prague)]
    stage.story.claim(told == [EARLIER, LATER], "each site tells its own description of the study now")
    missing = [
        len(set(_studies(one)) - set(_studies(other))) for one, other in ((brno, prague), (prague, brno))
    ]
    stage.story.claim(all(missing), f"{missing[0]} studies are at Brno only, {missing[1]} at Prague only")


def _describe(stage: Stage, at: At, description: str) -> None:
    change = f"StudyDescription={description}"
    stage.story.typed(f"correct {at.node.name} ...{stage.phantom[-8:]} '{change}'")
    stage.konzilium("correct", at.node.directory, stage.phantom, change, "--reason", REASON)


def _withdraw(stage: Stage, at: At) -> None:
    instance = withdrawn(stage)
    stage.story.typed(f"retract {at.node.name} --instance ...{instance[-8:]}")
    stage.konzilium("retract", at.node.directory, "--instance", instance, "--reason", REASON, "--yes")
    stage.story.acknowledged.pop(instance)


def withdrawn(stage: Stage) -> str:
    """The instance that one site withdraws: the first slice."""
    return str(stage.series[0].offer.instance)


def heal(stage: Stage) -> None:
    """The link is resumed; both sites hold and tell the same."""
    story, brno, prague = stage.story, stage.brno, stage.prague
    story.step("6. The link heals. Nobody compares lists, nobody decides who is right.")
    stage.konzilium("resume", brno.node.directory, prague.node.name)
    story.typed("resume brno prague")
    story.claim(stage.come_to_rest(), "each has read, fetched and proved what the other one has")
    here, there = _studies(brno), _studies(prague)
    story.claim(here == there, f"both find the same {len(here)} studies")
    told = [_description(at, stage.phantom) for at in (brno, prague)]
    story.claim(told == [LATER, LATER], f"both tell the later correction: {' / '.join(sorted(set(told)))}")
    left = [_slices(at, stage.phantom) for at in (brno, prague)]
    expected = len(stage.series) - 1
    story.claim(
        left == [expected, expected], f"the slice that Prague withdrew is at neither: {left[0]} are left"
    )


def _studies(at: At) -> list[str]:
    return sorted(str(match.StudyInstanceUID) for match in at.viewer.find(StudyInstanceUID=""))


def _description(at: At, study: str) -> str:
    found = at.viewer.find(StudyInstanceUID=study, StudyDescription="")
    return str(found[0].StudyDescription) if found else ""


def _slices(at: At, study: str) -> int:
    found = at.viewer.find(StudyInstanceUID=study, NumberOfStudyRelatedInstances="")
    return int(found[0].NumberOfStudyRelatedInstances) if found else 0
