"""The story of the demonstration, step by step; every step checks what it claims."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.demo.corpus import Sent, ct_series, real_files
from services.cli.demo.devices import Peer
from services.cli.demo.running import Running, free_ports, kill, konzilium, serving

Say = Callable[[str], None]
BEFORE_THE_KILL = 25
"""Slices that are acknowledged when the node is killed."""


@dataclass(slots=True)
class Story:
    """What happened so far, and what turned out otherwise than claimed."""

    say: Say
    failures: list[str] = field(default_factory=list)
    acknowledged: dict[str, Sent] = field(default_factory=dict)
    """First file sent under each SOP Instance UID that the node answered with success."""

    def claim(self, holds: bool, claim: str) -> None:
        """Say what is true now, and remember it if it is not."""
        self.say(f"   {'ok ' if holds else 'NOT'}  {claim}")
        if not holds:
            self.failures.append(claim)

    def step(self, title: str) -> None:
        """Begin the next step."""
        self.say(f"\n{title}")

    def sent(self, answers: Sequence[tuple[Sent, int]]) -> Counter[str]:
        """Remember what was acknowledged; count the answers."""
        for sent, status in answers:
            if status == 0:
                self.acknowledged.setdefault(sent.offer.instance, sent)
        return Counter("success" if status == 0 else f"{status:04X}" for _, status in answers)


def tell(folder: Path, say: Say) -> list[str]:
    """Run the demonstration in an empty folder; returns the claims that did not hold."""
    story = Story(say)
    site, series = folder / "brno", ct_series(folder / "ct")
    _make_site(story, site)
    with serving(site) as running:
        _knock(story, site, running)
        _store(story, running, series[:BEFORE_THE_KILL])
        kill(running)
        story.say("   kill -9 of every process of the node")
    with serving(site) as running:
        _after_the_kill(story, running, series[BEFORE_THE_KILL:])
        _store_real_files(story, running)
        _find(story, running)
        _fetch(story, running)
        _status(story, site)
    story.step("The node has stopped; nothing is left running.")
    return story.failures


def _make_site(story: Story, site: Path) -> None:
    story.step("1. A site is made: settings, keys and an empty archive, in one folder.")
    dicom, tls, http, node = free_ports(4)
    ports = ("--dicom-port", dicom, "--dicom-tls-port", tls, "--http-port", http, "--node-port", node)
    konzilium("init", site, "--site", "brno", *ports)
    story.say(f"   konzilium init {site.name} --site brno --dicom-port {dicom}")


def _knock(story: Story, site: Path, running: Running) -> None:
    story.step("2. A CT scanner calls. Nobody told the node about it.")
    scanner = Peer(ae_title="CT1", node=running.ae_title, port=running.port)
    story.claim(not scanner.echo(), "the node refuses it, and keeps it in `konzilium device pending`")
    konzilium("device", "accept", site, "CT1")
    story.say("   konzilium device accept brno CT1")
    konzilium("device", "add", site, "VIEWER", "127.0.0.1", 11114, "--may", "query,retrieve")
    story.say("   konzilium device add brno VIEWER 127.0.0.1 11114 --may query,retrieve")
    story.claim(scanner.echo(), "now it may associate")


def _store(story: Story, running: Running, series: Sequence[Sent]) -> None:
    story.step("3. The scanner stores a CT series over the network, and the node is killed in the middle.")
    scanner = Peer(ae_title="CT1", node=running.ae_title, port=running.port)
    begun = time.perf_counter()
    story.sent(list(scanner.store(series)))
    seconds = time.perf_counter() - begun
    story.claim(
        len(story.acknowledged) == len(series),
        f"{len(story.acknowledged)} slices of {len(series[0].dataset) >> 10} KiB acknowledged "
        f"in {seconds:.1f} s: each is on disk and in the catalog",
    )


def _after_the_kill(story: Story, running: Running, rest: Sequence[Sent]) -> None:
    story.step("4. The node starts again by itself and the scanner goes on.")
    viewer = Peer(ae_title="VIEWER", node=running.ae_title, port=running.port)
    found = viewer.find(PatientID="DEMO-0001", StudyInstanceUID="", NumberOfStudyRelatedInstances="")
    held = int(found[0].NumberOfStudyRelatedInstances) if found else 0
    story.claim(held == len(story.acknowledged), f"{held} slices are there: nothing acknowledged was lost")
    scanner = Peer(ae_title="CT1", node=running.ae_title, port=running.port)
    answers = story.sent(list(scanner.store(rest)))
    story.claim(answers["success"] == len(rest), f"the other {len(rest)} slices are acknowledged")


def _store_real_files(story: Story, running: Running) -> None:
    story.step("5. The real DICOM files of the pydicom package are stored, odd ones included.")
    scanner = Peer(ae_title="CT1", node=running.ae_title, port=running.port)
    files = real_files()
    counts = story.sent(list(scanner.store(files)))
    story.say(f"   {len(files)} files sent: {counts['success']} acknowledged")
    refused = counts.total() - counts["success"]
    story.claim(
        refused == counts["C000"] + counts["A900"],
        f"{refused} refused with a status that says so, and kept in quarantine: broken off, or nobody's",
    )


def _find(story: Story, running: Running) -> None:
    story.step("6. A workstation searches, without accents and in lower case.")
    viewer = Peer(ae_title="VIEWER", node=running.ae_title, port=running.port)
    found = viewer.find(PatientName="novak*", StudyDate="20260101-", StudyDescription="", StudyInstanceUID="")
    names = ", ".join(str(match.PatientName) for match in found)
    story.claim(len(found) == 1, f"novak* finds {names}: {found[0].StudyDescription if found else ''}")


def _fetch(story: Story, running: Running) -> None:
    story.step("7. The workstation fetches everything and compares it with what was sent, byte for byte.")
    viewer = Peer(ae_title="VIEWER", node=running.ae_title, port=running.port)
    pairs = {(sent.offer.sop_class, sent.offer.transfer_syntax) for sent in story.acknowledged.values()}
    fetched: dict[str, bytes] = {}
    studies = [str(match.StudyInstanceUID) for match in viewer.find(StudyInstanceUID="")]
    for study in studies:
        fetched |= viewer.get(study, pairs)
    same = sum(fetched.get(uid) == sent.dataset for uid, sent in story.acknowledged.items())
    story.claim(
        same == len(story.acknowledged) == len(fetched),
        f"{same} of {len(story.acknowledged)} instances in {len(studies)} studies came back identical",
    )


def _status(story: Story, site: Path) -> None:
    story.step("8. What the site says of itself.")
    status = json.loads(konzilium("status", site, "--json"))
    story.say(
        f"   konzilium status brno: {status['patients']} patients, {status['studies']} studies, "
        f"{status['instances']} instances"
    )
    story.claim(
        status["instances"] == len(story.acknowledged), "the catalog holds exactly what was acknowledged"
    )
    story.say(
        f"   {status['quarantined']} objects wait in quarantine; {status['conflicts']} came with other "
        f"content under a known UID: both forms are kept"
    )
