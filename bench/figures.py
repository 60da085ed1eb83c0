"""The figures and their goals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench import comparing, corpus, logins, million, recovery
from bench.measures import (
    PEER_STUDIES,
    Comparison,
    audit_overhead,
    exact_queries,
    ingest_at_scale,
    query_time,
    retrieve_rate,
    row_cost,
    store_rate,
    study_query,
)
from bench.network.hosts import Line
from bench.replication import replication

INSTANCES_PER_SECOND = "instances/s"
MILLISECONDS = "ms at the median"
MICROSECONDS_PER_ROW = "us of CPU per row"
MEGABYTES_PER_SECOND = "MB/s"
MILLISECONDS_OF_CPU = "ms of CPU"
MILLISECONDS_EACH = "ms for the slowest"
SECONDS = "s at the median"
SECONDS_ONCE = "s"
_PLAIN_NAME = {0x00100010: ("PN", "*CERM*KAT*")}
_NAME_WITH_ACCENTS = {0x00100010: ("PN", "*ČERM*KAT*")}
"""Orthanc does not find names whose accents are left out."""
_TWO_YEARS = {0x00080020: ("DA", "20180101-20191231")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure: how it is measured and what it should be."""

    name: str
    unit: str
    goal: str
    measure: Callable[[], Comparison]
    met: Callable[[Comparison], bool]

    @property
    def more_is_better(self) -> bool:
        """Rates should be high; times and costs low."""
        return self.unit in (INSTANCES_PER_SECOND, MEGABYTES_PER_SECOND)


def _store(name: str, template: Callable[[], corpus.Template], associations: int, instances: int) -> Figure:
    by_cpu = template is corpus.ct
    times = 2 if by_cpu else 3
    return Figure(
        name=f"cstore-{name}-{associations}",
        unit=INSTANCES_PER_SECOND,
        goal=f"at least {times}x the peer's rate" + (" at no more than half its CPU" if by_cpu else ""),
        measure=partial(store_rate, template, associations, instances),
        met=lambda c: _against(c, times) and (not by_cpu or _at_cpu(c, 0.5)),
    )


def _retrieve(by: str) -> Figure:
    return Figure(
        name=f"c{by}-200",
        unit=INSTANCES_PER_SECOND,
        goal="at least the peer's rate at no more than 60 % of its CPU",
        measure=partial(retrieve_rate, by, 200),
        met=lambda c: _against(c, 1) and _at_cpu(c, 0.6),
    )


def _replicate(
    name: str,
    line: Line | None,
    goal: str,
    met: Callable[[Comparison], bool],
    *,
    instances: int = 2_000,
    repetitions: int = 3,
) -> Figure:
    return Figure(
        name=f"replicate-{name}",
        unit=MEGABYTES_PER_SECOND,
        goal=goal,
        measure=partial(replication, line, instances, repetitions),
        met=met,
    )


def _against(comparison: Comparison, times: float) -> bool:
    return comparison.peer is not None and comparison.ours >= times * comparison.peer


def _at_cpu(comparison: Comparison, part: float) -> bool:
    return comparison.cpu_peer is not None and comparison.cpu_ours <= part * comparison.cpu_peer


def _exact() -> Comparison:
    return query_time(exact_queries(million.STUDIES, 300), exact_queries(PEER_STUDIES, 60))


def _by_name() -> Comparison:
    return query_time([study_query(_PLAIN_NAME)] * 100, [study_query(_NAME_WITH_ACCENTS)] * 20)


FIGURES = {
    figure.name: figure
    for figure in (
        _store("ct", corpus.ct, 1, 200),
        _store("ct", corpus.ct, 4, 100),
        _store("mr", corpus.mr, 1, 300),
        _store("mr", corpus.mr, 4, 150),
        _retrieve("get"),
        _retrieve("move"),
        Figure(
            name="cfind-exact-1m",
            unit=MILLISECONDS,
            goal="no more than 5 ms on the wire at a million instances",
            measure=_exact,
            met=lambda c: c.ours <= 5,
        ),
        Figure(
            name="cfind-rows-1m",
            unit=MICROSECONDS_PER_ROW,
            goal="no more than 10 us of CPU per returned row at a million instances",
            measure=lambda: row_cost(study_query(_TWO_YEARS)),
            met=lambda c: c.ours <= 10,
        ),
        Figure(
            name="cfind-name-1m",
            unit=MILLISECONDS,
            goal="under 10 ms on the wire for *CERM*KAT* at a million instances",
            measure=_by_name,
            met=lambda c: c.ours < 10,
        ),
        Figure(
            name="ingest-1m",
            unit=INSTANCES_PER_SECOND,
            goal="at a million instances at least 0.9 of the rate into an empty archive",
            measure=lambda: ingest_at_scale(4, 500),
            met=lambda c: _against(c, 0.9),
        ),
        Figure(
            name="audit-overhead",
            unit=INSTANCES_PER_SECOND,
            goal="at least 0.9 of the rate without the audit record",
            measure=lambda: audit_overhead(1, 500),
            met=lambda c: _against(c, 0.9),
        ),
        Figure(
            name="saml-refusals",
            unit=MILLISECONDS_EACH,
            goal="under 50 ms for every attack",
            measure=logins.refusals,
            met=lambda c: c.ours < 50,
        ),
        _replicate(
            "loopback",
            None,
            "at least 1.2x the peer's rate, at no more than 5 s of CPU per GB for both ends",
            lambda c: _against(c, 1.2) and c.cpu_ours <= 5_000,
            repetitions=5,
        ),
        _replicate(
            "1g-30ms",
            Line(delay_ms=15, mbit=1000),
            "at least 95 % of the peer's rate",
            lambda c: _against(c, 0.95),
        ),
        _replicate(
            "100m-30ms",
            Line(delay_ms=15, mbit=100),
            "at least 11.3 MB/s",
            lambda c: c.ours >= 11.3,
            instances=400,
        ),
        _replicate(
            "1g-loss",
            Line(delay_ms=15, mbit=1000, loss=1),
            "at least 80 MB/s",
            lambda c: c.ours >= 80,
        ),
        Figure(
            name="soap-signed-call",
            unit=MILLISECONDS_OF_CPU,
            goal="under 5 ms of CPU on both ends together",
            measure=comparing.signed_call,
            met=lambda c: c.ours < 5,
        ),
        Figure(
            name="soap-bulk-1000",
            unit=MILLISECONDS,
            goal="under 50 ms",
            measure=comparing.bulk_query,
            met=lambda c: c.ours < 50,
        ),
        Figure(
            name="compare-1m",
            unit=SECONDS,
            goal="under 1 s for two catalogs of a million objects that differ in 200",
            measure=comparing.comparison,
            met=lambda c: c.ours < 1,
        ),
        Figure(
            name="lost-catalog-100k",
            unit=INSTANCES_PER_SECOND,
            goal="at least 550 instances a second: a million within half an hour",
            measure=lambda: recovery.lost_catalog(100_000),
            met=lambda c: c.ours >= 550,
        ),
        Figure(
            name="lost-site-10gb",
            unit=SECONDS_ONCE,
            goal="no more than 600 s until every copy is back and proved",
            measure=lambda: recovery.lost_site(19_000),
            met=lambda c: c.ours <= 600,
        ),
        Figure(
            name="read-back",
            unit=MEGABYTES_PER_SECOND,
            goal="at least half the peer's rate",
            measure=recovery.reading_back,
            met=lambda c: _against(c, 0.5),
        ),
        Figure(
            name="ingest-beside-scrub",
            unit=INSTANCES_PER_SECOND,
            goal="at least 0.9 of the rate without the scrub",
            measure=lambda: recovery.ingest_beside_scrub(4, 200),
            met=lambda c: _against(c, 0.9),
        ),
        Figure(
            name="heal-on-read",
            unit=MILLISECONDS,
            goal="under 500 ms until a slice with a flipped byte has come whole",
            measure=lambda: recovery.healed_on_read(20),
            met=lambda c: c.ours < 500,
        ),
    )
}
