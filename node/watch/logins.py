"""Conditions of logins: metadata that cannot be refreshed, and certificates that end.

Federations stop publishing whose certificate has less than thirty days left (eduID.cz does), and a change
takes weeks with everybody who has to know of it: so people are told 60, 45 and 30 days before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from node.catalog.providers import FOREVER, Source
from node.catalog.unit import Unit
from node.domain.alert import DAY, SECOND, Concern, Severity
from node.domain.errors import NodeError
from node.domain.words import number, span
from node.identity.certificates import known
from node.identity.providers.descriptor import read_provider
from node.identity.providers.discovery import SINGLE
from node.identity.saml.keys import KEY, SpKeys
from node.settings import AlertSettings
from node.watch.seen import Feed, Seen

STAGES: Final = (30, 45, 60)
"""Days before the end of a certificate."""
LATE: Final = DAY
"""For how long a source may fail."""
CLOSE: Final = 3 * DAY
"""Before the end of metadata that cannot be refreshed, from when on it is critical."""


def feeds(unit: Unit) -> Sequence[Feed]:
    """The sources of identity providers, as they are seen."""
    return [_feed(unit, source) for source in unit.providers.sources()]


def _feed(unit: Unit, source: Source) -> Feed:
    days: dict[str, int] = {}
    if source.kind == SINGLE:
        for row in unit.providers.of(source.name):
            one = read_provider(row.described, entity=row.entity, source=row.source, valid_until=row.ends)
            ends = [known(pem).days_left(unit.now) for pem in one.certificates]
            days[one.name()] = max(ends, default=0)
    return Feed(
        name=source.name,
        failed_at=source.failed_at,
        error=source.error,
        valid_until=0 if source.valid_until >= FOREVER else source.valid_until,
        certificate_days=days,
    )


def login_days(unit: Unit, keys: SpKeys) -> int | None:
    """Days left of the certificate that this site logs people in with; None where it has none."""
    if not (keys.folder / KEY).exists():
        return None
    try:
        return max(known(pem).days_left(unit.now) for pem in keys.encryption())
    except NodeError:
        return None


def logins(seen: Seen, settings: AlertSettings, open_: Collection[str]) -> Iterator[Concern]:
    """People cannot log in, or soon will not."""
    for feed in seen.feeds:
        yield from _refreshing(feed, seen)
        for name, days in sorted(feed.certificate_days.items(), key=lambda one: one[1])[:1]:
            yield from _ending(
                feed.name,
                f"The certificate of the identity provider {name}",
                "Ask there for its next one; then see `konzilium idp add --help` for how it is pinned.",
                days,
            )
    if seen.login_days is not None:
        yield from _ending(
            "this site",
            "The certificate with which this site logs people in",
            f"Say `konzilium login rotate {seen.directory}`; it tells what comes next.",
            seen.login_days,
        )


def _refreshing(feed: Feed, seen: Seen) -> Iterator[Concern]:
    why = f" ({feed.error.rstrip('.')})" if feed.error else ""
    todo = f"Say `konzilium idp refresh {seen.directory} {feed.name}` to see why."
    has_end = bool(feed.valid_until)
    ends = has_end and bool(feed.failed_at) and feed.valid_until - seen.now < CLOSE
    over = has_end and feed.valid_until <= seen.now
    left = span(max(0, feed.valid_until - seen.now) / SECOND)
    if over or ends:
        yield Concern(
            kind="logins-end",
            subject=feed.name,
            severity=Severity.CRITICAL,
            what=f"The metadata of {feed.name} have ended{why}: nobody can log in by them."
            if over
            else f"The metadata of {feed.name} end in {left} and cannot be refreshed{why}: from then on "
            "nobody can log in by them.",
            todo=todo,
        )
    if feed.failed_at and seen.now - feed.failed_at > LATE:
        yield Concern(
            kind="metadata-late",
            subject=feed.name,
            severity=Severity.WARNING,
            what=f"The metadata of {feed.name} could not be refreshed for "
            f"{span((seen.now - feed.failed_at) / SECOND)}{why}; the last good ones hold.",
            todo=todo,
            quiet=over or ends,
        )


def _ending(subject: str, what: str, todo: str, days: int) -> Iterator[Concern]:
    """One concern for each bound that is passed; the last one speaks."""
    passed = [stage for stage in STAGES if days < stage]
    words = f"{what} has expired." if days < 0 else f"{what} ends in {number(days, 'day')}."
    for stage in passed:
        yield Concern(
            kind=f"login-certificate-{stage}",
            subject=subject,
            severity=Severity.CRITICAL if stage == STAGES[0] else Severity.WARNING,
            what=words,
            todo=todo,
            quiet=stage != passed[0],
        )
