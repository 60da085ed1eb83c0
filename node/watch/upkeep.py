"""Conditions of certificates, devices, jobs, and of what waits for a person."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from node.domain.alert import DAY, SECOND, Concern, Severity
from node.domain.words import number, span
from node.settings import AlertSettings
from node.watch.seen import Seen

MUTE: Final = 900 * SECOND
"""For how long a sink may fail."""
ENDS: Final = 7
"""Days before the end of a certificate from which on it is critical."""


def certificates(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """A certificate of this site or of a member ends."""
    where = seen.directory
    own = {
        "dicom": ("The DICOM certificate", "Replace it, or TLS devices stay out: dicom.certificate."),
        "node": ("The key of this site", f"Say `konzilium rotate {where}`."),
    }
    for name, days in seen.certificates.items():
        yield from _ending(name, *own[name], days, settings)
    for one in seen.neighbours:
        told = (f"The key of {one.site}", "There they say `konzilium rotate`.")
        yield from _ending(f"member {one.site}", *told, one.certificate_days, settings)


def _ending(subject: str, what: str, todo: str, days: int, settings: AlertSettings) -> Iterator[Concern]:
    words = f"{what} has expired." if days < 0 else f"{what} expires in {number(days, 'day')}."
    if days < ENDS:
        yield Concern(
            kind="certificate-ends", subject=subject, severity=Severity.CRITICAL, what=words, todo=todo
        )
    if days < settings.certificate_days:
        yield Concern(
            kind="certificate",
            subject=subject,
            severity=Severity.WARNING,
            what=words,
            todo=todo,
            quiet=days < ENDS,
        )


def devices(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """A device is silent for longer than usual (`node.watch.rhythm`)."""
    for name, rhythm in seen.rhythms.items():
        if rhythm.is_silent(seen.now, settings.modality_hours, seen.awake):
            yield Concern(
                kind="modality-silent",
                subject=name,
                severity=Severity.WARNING,
                what=f"{name} has sent nothing for {span((seen.now - rhythm.last) / SECOND)}, longer than "
                "is usual for it.",
                todo="Ask there whether it works and sends here; if it is not used any more, say "
                f"`konzilium device remove {seen.directory} {name}`.",
            )


def jobs(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """Something that is owed is not done."""
    if seen.stalled:
        yield Concern(
            kind="jobs-stalled",
            severity=Severity.WARNING,
            what=f"{number(seen.stalled, 'job has', 'jobs have')} failed too often and wait for a person.",
            todo="See the log of the worker for why.",
        )
    late = (seen.now - seen.oldest_job_at) if seen.oldest_job_at is not None else 0
    if late > DAY:
        yield Concern(
            kind="jobs-late",
            severity=Severity.WARNING,
            what=f"Something has been owed for {span(late / SECOND)}.",
            todo="See the log of the worker.",
        )


def sinks(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """Notices do not get through."""
    for sink, since in seen.mute.items():
        if seen.now - since > MUTE:
            yield Concern(
                kind="sink-failing",
                subject=sink,
                severity=Severity.WARNING,
                what=f"Notices could not be sent by {sink} for {span((seen.now - since) / SECOND)}; they are "
                "kept and sent again.",
                todo=f"Say `konzilium alerts {seen.directory} --test` to see why.",
            )


def waiting(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """A person has to decide about something, at leisure."""
    where = seen.directory
    for kind, count, words, todo in (
        (
            "quarantine",
            seen.quarantined,
            number(seen.quarantined, "object") + " without a patient or study in quarantine.",
            f"See `konzilium quarantine list {where}`.",
        ),
        (
            "conflicts",
            seen.conflicts,
            number(seen.conflicts, "instance") + " arrived twice with different content; both are kept.",
            f"See `konzilium conflicts {where}`.",
        ),
        (
            "shared-studies",
            seen.shared_studies,
            number(seen.shared_studies, "study", "studies") + " arrived for more than one patient.",
            f"See `konzilium conflicts {where}`.",
        ),
        (
            "strangers",
            seen.strangers,
            number(seen.strangers, "unknown device") + " asked to connect.",
            f"See `konzilium device pending {where}`.",
        ),
    ):
        if count:
            yield Concern(kind=kind, severity=Severity.INFO, what=words, todo=todo)
