"""The report of a drill: what it says, where it is kept, and which one was the last.

```
DIR/drills/NAME.json     the report and its signature       NAME is when, and which scenario
DIR/drills/NAME.html     the same, to read and to file
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from node import __version__
from node.blobs.filesystem import storage_errors
from node.domain.errors import BadSignature, Malformed, Unknown
from node.domain.ids import SiteId
from node.identity.keys import NodeKey
from node.recovery.drill import page
from node.recovery.drill.order import TITLES, Order, Scenario
from node.recovery.drill.outcome import Outcome
from node.recovery.drill.sign import Signed, read, sign, verify

FORM: Final = "konzilium drill report 1"
PASSED, FAILED = "passed", "failed"
NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z-]{1,20}(-[0-9]{1,4})?")
MOST: Final = 1 << 22
"""Bytes of a report that is read at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A drill in short."""

    name: str
    scenario: Scenario
    held_at: int
    """Microseconds since 1970."""
    has_passed: bool
    reasons: tuple[str, ...]
    objects: int
    """Of the sample."""
    loss_objects: int
    recovery_seconds: float
    """The longest of the recovery times that were worked out for everything."""

    @property
    def verdict(self) -> str:
        """`passed` or `failed`."""
        return PASSED if self.has_passed else FAILED


def new_name(folder: Path, scenario: Scenario, now: int) -> str:
    """A name that no report has yet."""
    moment = datetime.fromtimestamp(now / 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name, number = f"{moment}-{scenario}", 1
    while (folder / f"{name}.json").exists():
        number += 1
        name = f"{moment}-{scenario}-{number}"
    return name


def told(
    outcome: Outcome, order: Order, *, name: str, site: SiteId, began: int, ended: int, by: str
) -> dict[str, Any]:
    """What a report says."""
    return {
        "form": FORM,
        "name": name,
        "site": site,
        "scenario": order.scenario,
        "title": TITLES[order.scenario],
        "began": _moment(began),
        "ended": _moment(ended),
        "held_at": began,
        "by": by,
        "software": f"konzilium {__version__}",
        "seed": order.seed,
        "bounds": asdict(order.bounds),
        **{key: value for key, value in asdict(outcome).items() if key != "reasons"},
        "verdict": PASSED if outcome.has_passed else FAILED,
        "reasons": outcome.reasons or ([] if outcome.has_passed else ["nothing was checked"]),
    }


def keep(folder: Path, report: Mapping[str, Any], key: NodeKey) -> Path:
    """Sign a report and keep it as JSON and as a page; where the JSON is.

    Raises:
        StoreFull, StoreFailing: it could not be written.
    """
    signed = sign(report, key)
    path = folder / f"{report['name']}.json"
    with storage_errors:
        _write(path.with_suffix(".html"), page.written(signed))
        _write(path, signed.text)
    return path


def find(folder: Path, name: str) -> Signed:
    """The report of that name, whose signature holds.

    Raises:
        Unknown: there is none.
        Malformed, BadSignature: it is not what was signed.
    """
    if not NAME.fullmatch(name):
        raise Unknown(name)
    return load(folder / f"{name}.json")


def load(path: Path) -> Signed:
    """The report in a file, whose signature holds.

    Raises:
        Unknown: there is no such file.
        Malformed, BadSignature: it is not what was signed.
    """
    try:
        with storage_errors:
            if path.stat().st_size > MOST:
                raise Malformed("the report is too long")
            text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the report is no text") from None
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise Unknown(path.name) from None
        raise
    signed = read(text)
    verify(signed)
    return signed


def held(folder: Path) -> Iterator[Summary | Malformed]:
    """The drills that were held here, the last first; what is not what was signed says why instead."""
    files = [path for path in folder.glob("*.json") if NAME.fullmatch(path.stem)]
    for name in [path.stem for path in sorted(files, key=_moment_of, reverse=True)]:
        try:
            yield summary(find(folder, name))
        except (Malformed, BadSignature) as error:
            yield Malformed(f"{name}: {error}")


def _moment_of(file: Path) -> tuple[str, int]:
    """When a drill was held: the second stands in the name; within one, the file that was written last."""
    return file.stem.partition("-")[0], file.stat().st_mtime_ns


def last(folder: Path, scenario: Scenario | None = None) -> Summary | None:
    """The last drill that was held here (of a scenario), as its signed report tells it."""
    for one in held(folder):
        if isinstance(one, Summary) and scenario in (None, one.scenario):
            return one
    return None


def summary(signed: Signed) -> Summary:
    """A report in short.

    Raises:
        Malformed: it does not say what a report says.
    """
    report = signed.report
    try:
        return Summary(
            name=report["name"],
            scenario=Scenario(report["scenario"]),
            held_at=int(report["held_at"]),
            has_passed=report["verdict"] == PASSED,
            reasons=tuple(report["reasons"]),
            objects=int(report["sample"]["objects"]),
            loss_objects=int(report["loss"]["objects"]),
            recovery_seconds=max((one["everything_seconds"] for one in report["durations"]), default=0.0),
        )
    except (KeyError, TypeError, ValueError):
        raise Malformed("this is no report of a drill") from None


def told_short(one: Summary) -> dict[str, Any]:
    """A drill in short, as JSON tells it."""
    return asdict(one) | {"held_at": _moment(one.held_at), "verdict": one.verdict}


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="seconds")


def _write(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, "utf-8")
    beside.chmod(0o600)
    beside.replace(path)
