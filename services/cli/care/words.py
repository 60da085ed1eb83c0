"""How findings are said: what each kind means, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from node.domain.errors import MalformedIdentifier, Unknown
from node.domain.finding import DAMAGE, Finding, Trouble
from node.domain.ids import Digest, SiteId
from node.domain.words import number
from node.wiring import Site
from services.cli.output import Exit, fields, say

NAMED = 20
"""Findings of a kind that are shown to a person; `--json` names all."""
SHORT = 16
"""Digits of a digest that are shown to a person."""

MEANS: dict[Trouble, str] = {
    Trouble.MISSING: "the bytes are catalogued, and not in the store",
    Trouble.CORRUPT: "the bytes are not those that were stored",
    Trouble.TRUNCATED: "the bytes are fewer than were stored",
    Trouble.UNLISTED: "the bytes are in the store, and in no row of the catalog",
    Trouble.UNDER_REPLICATED: "a site ought to hold a copy, and has proved none",
    Trouble.CONFLICTING: "other bytes are kept under the same SOP Instance UID",
    Trouble.STALE: "the catalog says something that is not so any more",
}
"""What each kind of finding means."""

DO: dict[Trouble, str] = {
    Trouble.MISSING: "`konzilium repair {0}` fetches them from a site that proves its copy.",
    Trouble.CORRUPT: "`konzilium repair {0}` replaces them from a site that proves its copy.",
    Trouble.TRUNCATED: "`konzilium repair {0}` replaces them from a site that proves its copy.",
    Trouble.UNLISTED: "`konzilium repair {0}` catalogues them again from the journal.",
    Trouble.UNDER_REPLICATED: "`konzilium repair {0}` asks the site; see also `konzilium peers {0}`.",
    Trouble.CONFLICTING: "A person decides: `konzilium conflicts {0}`.",
    Trouble.STALE: "`konzilium repair {0}` counts again, or has the other site look at its copy.",
}
"""What to do about each kind."""

finding_option = click.option(
    "--finding",
    "chosen",
    metavar="NAME",
    multiple=True,
    help="Only this one: a kind, a SOP Instance UID, or the beginning of a digest; may be repeated.",
)


def told(finding: Finding) -> dict[str, Any]:
    """A finding as `--json` tells it."""
    return fields(finding)


def named(finding: Finding) -> str:
    """Which copy a finding is about, for a person."""
    parts = [finding.instance, finding.digest[:SHORT]]
    return "  ".join(part for part in parts if part)


def tell_findings(found: Sequence[Finding], directory: Path, here: SiteId) -> None:
    """Say findings to a person, by kind."""
    for kind in Trouble:
        some = [finding for finding in found if finding.kind is kind]
        if not some:
            continue
        say(f"{len(some)} {kind}: {MEANS[kind]}")
        for finding in some[:NAMED]:
            where = "" if finding.site == here else f"  at {finding.site}"
            say(f"  {named(finding)}{where}  ({finding.evidence})")
        if len(some) > NAMED:
            say(f"  and {len(some) - NAMED} more; --json names all")
        say(f"  {DO[kind].format(directory)}")


def verdict(found: Iterable[Finding], here: SiteId) -> Exit:
    """The exit code for what is wrong."""
    kinds = {finding.kind for finding in found if finding.site == here}
    if not DAMAGE.isdisjoint(kinds):
        return Exit.DAMAGED
    return Exit.ATTENTION if any(True for _ in found) else Exit.FINE


def choose(found: Sequence[Finding], names: Sequence[str]) -> list[Finding]:
    """The findings that are meant.

    Raises:
        MalformedIdentifier: a name is neither a kind nor a UID nor the beginning of a digest.
        Unknown: nothing is found by that name.
    """
    if not names:
        return list(found)
    chosen: dict[tuple[str, str, str], Finding] = {}
    for name in names:
        some = [finding for finding in found if _is_meant(finding, name)]
        if not some:
            raise Unknown(name)
        chosen |= {finding.key: finding for finding in some}
    return list(chosen.values())


def _is_meant(finding: Finding, name: str) -> bool:
    if name in list(Trouble):
        return finding.kind == name
    if "." in name:
        return finding.instance == name
    if not name or Digest.form.fullmatch(name.ljust(64, "0")) is None:
        raise MalformedIdentifier(Digest.what)
    return finding.digest.startswith(name)


def counter(label: str) -> Callable[[int, int], None]:
    """A line on the terminal that counts."""
    shown = sys.stderr.isatty()

    def tell(done: int, of: int) -> None:
        if shown:
            click.echo(f"\r{label} {done}/{of} ", err=True, nl=done >= of)

    return tell


def many(count: int) -> str:
    """A number of objects."""
    return number(count, "object")


def here(site: Site) -> SiteId:
    """The name of a site."""
    return site.settings.site.name
