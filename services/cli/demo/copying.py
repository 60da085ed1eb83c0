"""A modality sends to one site, and the other one gets copies, also when it is killed meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from node.domain.replica import CopyState, Replica
from services.cli.demo.corpus import Sent
from services.cli.demo.stage import Stage, until
from services.cli.output import moment

NAMED = 3
"""Copies that are named."""
BEFORE_THE_KILL = 8
"""Slices that have reached the other site when it is killed."""


def send_real_files(stage: Stage) -> None:
    """The real files go to Brno; copies of all of them are proved at Prague."""
    story, brno, prague = stage.story, stage.brno, stage.prague
    story.step("3. A scanner sends real DICOM files to Brno, odd ones included. Nobody sends any to Prague.")
    files = stage.files.first
    counts = story.sent(brno.scanner.store(files))
    refused = counts.total() - counts["success"]
    story.say(f"   {len(files)} files of the pydicom package: {counts['success']} acknowledged")
    story.claim(
        refused == counts["C000"] + counts["A900"],
        f"{refused} refused with a status that says so ({_statuses(counts)}), and kept in quarantine: "
        "broken off, nobody's, or not what was announced",
    )
    story.claim(stage.come_to_rest(), "Prague has fetched a copy of everything and read it back")
    here, there = brno.viewer.find(StudyInstanceUID=""), prague.viewer.find(StudyInstanceUID="")
    story.claim(
        0 < len(here) == len(there), f"a workstation at Prague finds {len(there)} studies, as many as at Brno"
    )
    story.say("   What Brno knows of some of the copies at Prague:")
    for sent in _newest(files, story.acknowledged):
        _name(stage, sent)


def _statuses(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if status != "success")


def _newest(files: Sequence[Sent], acknowledged: dict[str, Sent]) -> list[Sent]:
    return [sent for sent in files if acknowledged.get(sent.offer.instance) is sent][-NAMED:]


def _name(stage: Stage, sent: Sent) -> None:
    copies = [copy for copy in stage.brno.copies(sent.offer.instance) if copy.state is CopyState.VERIFIED]
    told = ", ".join(f"sha256 {copy.digest[:16]}... verified {moment(copy.at)}" for copy in copies)
    stage.story.claim(bool(copies), f"{sent.path.name}: {told or 'no copy is verified'}")


def kill_in_the_middle(stage: Stage) -> None:
    """Prague is killed while a CT series is on its way to it, and goes on where it was."""
    story, prague = stage.story, stage.prague
    story.step(
        "4. A CT series of 60 slices. Prague, on a slow line, is killed while copies are on their way."
    )
    before = prague.instances()
    counts = story.sent(_sent_until_killed(stage, before))
    came, owed = prague.instances() - before, stage.brno.owed(prague)
    story.claim(
        0 < came < len(stage.series) and owed > 0,
        f"kill -9 of every process at Prague: {came} slices have come, {owed} are not proved",
    )
    story.claim(
        counts["success"] == len(stage.series),
        f"Brno does not mind: all {len(stage.series)} slices of {len(stage.series[0].dataset) >> 10} KiB "
        "are acknowledged",
    )
    prague.node.start()
    prague.node.is_open()
    story.say("   Prague starts again")
    _nothing_missing(stage)


def _sent_until_killed(stage: Stage, before: int) -> Iterator[tuple[Sent, int]]:
    """Send the series; kill Prague as soon as some of it is there."""
    node = stage.prague.node

    def enough() -> bool:
        return stage.prague.instances() - before >= BEFORE_THE_KILL

    for answer in stage.brno.scanner.store(stage.series):
        yield answer
        if node.process is not None and enough():
            node.kill()
    if node.process is not None:
        until(enough)
        node.kill()


def _nothing_missing(stage: Stage) -> None:
    story, prague, slices = stage.story, stage.prague, len(stage.series)
    story.claim(stage.come_to_rest(), "Prague has gone on by itself where it was")
    found = prague.viewer.find(StudyInstanceUID=stage.phantom, NumberOfStudyRelatedInstances="")
    held = int(found[0].NumberOfStudyRelatedInstances) if found else 0
    story.claim(
        held == slices, f"a workstation there finds the study with {held} slices: none missing, none twice"
    )
    copies = [copy for sent in stage.series for copy in stage.brno.copies(sent.offer.instance)]
    story.claim(
        len(_verified(copies)) == len(copies) == slices, f"Brno knows of {len(copies)} copies, all verified"
    )


def _verified(copies: Sequence[Replica]) -> list[Replica]:
    return [copy for copy in copies if copy.state is CopyState.VERIFIED]
