"""`konzilium proof`: every copy of an instance, with its digest and the moment of its proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from node.catalog.unit import Unit
from node.domain.errors import UnknownInstance
from node.domain.finding import DAMAGE
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.words import size
from node.wiring import open_site
from services.cli import types
from services.cli.care.words import SHORT
from services.cli.commands import Command
from services.cli.output import as_json, columns, fields, moment

DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One copy of an instance, as `--json` tells it."""

    site: str
    digest: str
    size: int
    state: str
    """`owed`, `held`, `verified` or `gone`; a copy of this site may be `damaged`."""
    proved_at: int
    """When the site read it back last, as it has told; 0 where it has not."""
    epoch: int
    entry: int
    """The entry of the site's journal that told of the copy last, and the epoch; 0 where none did."""


@click.command(
    cls=Command,
    short_help="Show every copy of an instance, and when each was proved.",
    examples=(
        "konzilium proof /srv/brno 1.2.276.0.7230010.3.1.4.1",
        "konzilium proof /srv/brno 1.2.276.0.7230010.3.1.4.1 --json",
    ),
)
@types.site_argument
@click.argument("instance", metavar="INSTANCE", type=types.INSTANCE)
@types.json_option
def proof(directory: Path, *, instance: InstanceUID, json_: bool) -> None:
    """Show every copy of the instance with SOP Instance UID INSTANCE, at all sites.

    For each: the site, the digest of the bytes, what is known of the copy, when the site read it back from
    its disk and found the digest right, and the entry of its journal that says so.
    """
    with open_site(directory) as site, site.catalog.reading() as unit:
        rows = list(_rows(unit, instance))
    if not rows:
        raise UnknownInstance(instance)
    if json_:
        as_json([fields(row) for row in rows])
        return
    columns(
        ("SITE", "DIGEST", "SIZE", "STATE", "PROVED", "TOLD IN"),
        [
            (
                row.site,
                row.digest[:SHORT],
                size(row.size),
                row.state,
                moment(row.proved_at) if row.proved_at else "-",
                f"epoch {row.epoch}, entry {row.entry}" if row.entry else "-",
            )
            for row in rows
        ],
    )


def _rows(unit: Unit, instance: InstanceUID) -> Iterator[ProofRow]:
    """The copies here, then those at other sites."""
    for digest in _digests(unit, instance):
        held = unit.holdings.find(digest)
        if held is not None:
            is_damaged = bool(unit.findings.unsettled(kinds=DAMAGE, prefix=digest))
            proved = unit.proofs.find(digest) or 0
            state = DAMAGED if is_damaged else "verified" if proved else "held"
            yield _row(unit, unit.origin, digest, held.size, state, 0 if is_damaged else proved)
    for copy in unit.replicas.of_instance(instance):
        proved = copy.at if copy.state == "verified" else 0
        yield _row(unit, copy.site, copy.digest, copy.size, copy.state, proved)


def _digests(unit: Unit, instance: InstanceUID) -> list[Digest]:
    """The digests of every form of an instance that facts tell of."""
    told = [fact.says.get("digest") for fact in unit.journal.about(instance)]
    return list(dict.fromkeys(Digest.trusted(one) for one in told if isinstance(one, str)))


def _row(unit: Unit, site: SiteId, digest: Digest, bytes_: int, state: str, proved: int) -> ProofRow:
    epoch, entry = unit.proofs.told(site, digest) or (0, 0)
    return ProofRow(
        site=site, digest=digest, size=bytes_, state=state, proved_at=proved, epoch=epoch, entry=entry
    )
