"""The report of a drill as a page to read, to print on A4 and to file: one file, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from node.recovery.drill.sign import Signed

_STYLE: Final = """
@page { size: A4; margin: 18mm }
body { font: 11pt/1.45 system-ui, sans-serif; color: #16202a; max-width: 174mm; margin: 12mm auto;
  padding: 0 4mm }
h1 { font-size: 19pt; margin: 0 } h2 { font-size: 13pt; margin: 8mm 0 2mm; border-bottom: 1px solid #9aa5b1 }
p.what { margin: 1mm 0 5mm; color: #46525e }
div.verdict { border: 2px solid; padding: 4mm 5mm; margin: 5mm 0 }
div.verdict b { font-size: 16pt } .passed { color: #0b5d2a; background: #eef8f1 }
.failed { color: #8c1414; background: #fdf0f0 }
table { border-collapse: collapse; width: 100%; page-break-inside: auto } tr { page-break-inside: avoid }
th, td { text-align: left; vertical-align: top; padding: 1mm 3mm 1mm 0; border-bottom: 1px solid #d5dbe1 }
th { font-weight: 600; white-space: nowrap } td.number { text-align: right; white-space: nowrap }
code { font: 8.5pt/1.3 ui-monospace, monospace; overflow-wrap: anywhere }
ul { margin: 1mm 0; padding-left: 5mm }
div.sign { margin-top: 14mm; display: flex; gap: 12mm } div.sign p { flex: 1; border-top: 1px solid #16202a }
@media print { body { margin: 0; padding: 0 } }
"""


def written(signed: Signed) -> str:
    """The page of a signed report."""
    report = signed.report
    title = f"Recovery drill at {report['site']}: {report['scenario']}"
    body = "\n".join(
        (
            f"<h1>{_text(title)}</h1>",
            f'<p class="what">{_text(report["title"])}. Held on a copy with real data; the site went on '
            "working, and nothing of it was changed.</p>",
            _verdict(report),
            _section("In short", _facts(_short(report))),
            _section("Recovery point: what would be lost", _loss(report["loss"])),
            _section("Recovery time: how long it takes", _times(report["durations"])),
            _section("Faults and findings", _findings(report)),
            _section("Steps", _steps(report["steps"])),
            _section("Notes", _list(report["notes"])) if report["notes"] else "",
            _section("Signature", _signature(signed)),
            '<div class="sign"><p>Read by (name, date)</p><p>Filed under</p></div>',
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _verdict(report: Mapping[str, Any]) -> str:
    verdict = report["verdict"]
    reasons = _list(report["reasons"]) if report["reasons"] else ""
    return f'<div class="verdict {_text(verdict)}"><b>{_text(verdict).capitalize()}</b>{reasons}</div>'


def _short(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    sample, digests = report["sample"], report["digests"]
    yield "Site", report["site"]
    yield "Began", report["began"]
    yield "Ended", report["ended"]
    yield "Held by", report["by"]
    yield "Software", report["software"]
    yield (
        "Sample",
        f"{sample['objects']:,} of {sample['of_objects']:,} objects, {_mega(sample['bytes'])} of "
        f"{_mega(sample['of_bytes'])}, chosen by the seed {report['seed']}",
    )
    yield (
        "Digests (SHA-256)",
        f"{digests['checked']:,} read again: {digests['equal']:,} equal, {digests['different']:,} different, "
        f"{digests['missing']:,} missing",
    )


def _loss(loss: Mapping[str, Any]) -> str:
    rows = [
        ("Objects", f"{loss['objects']:,}"),
        ("Facts", f"{loss['facts']:,}"),
        ("The oldest of it", f"{loss['seconds']:,.0f} s ago" if loss["seconds"] else "nothing"),
    ]
    if loss["allowed_seconds"]:
        rows.append(("May be on its way for", f"{loss['allowed_seconds']:,.0f} s"))
    return f"<p>{_text(loss['told'])}</p>{_facts(rows)}{_names(loss['named'])}"


def _times(durations: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (one["what"], f"{one['seconds']:,.1f} s", _long(one["everything_seconds"]), one["how"])
        for one in durations
    ]
    return _table(("To", "Measured", "For everything", "How that was worked out"), rows)


def _findings(report: Mapping[str, Any]) -> str:
    kinds = sorted({*report["planted"], *report["found"]})
    rows = [(kind, report["planted"].get(kind, 0), report["found"].get(kind, 0)) for kind in kinds]
    parts = [_table(("Kind", "Planted", "Found"), rows), f"<p>Repaired: {report['repaired']:,}</p>"]
    for head, names in (
        ("Missed", report["missed"]),
        ("False alarms", report["false_alarms"]),
        ("Not as before", report["digests"]["named"]),
    ):
        parts.append(f"<p>{head}:</p>{_names(names)}" if names else "")
    return "".join(parts)


def _steps(steps: Sequence[Mapping[str, Any]]) -> str:
    rows = [(one["step"], f"{one['seconds']:,.2f} s", one["told"]) for one in steps]
    return _table(("Step", "Took", "What came of it"), rows)


def _signature(signed: Signed) -> str:
    return (
        f"<p>Signed by the key of {_text(signed.report['site'])} (certificate "
        f"<code>{signed.fingerprint}</code>). "
        f"The file <code>{_text(signed.report['name'])}.json</code> beside this page is what was signed; "
        "<code>konzilium drill --verify-report FILE</code> tells whether it is unchanged.</p>"
        f"<p><code>{_text(signed.signature)}</code></p>"
    )


def _section(head: str, content: str) -> str:
    return f"<h2>{_text(head)}</h2>\n{content}"


def _facts(rows: Iterable[tuple[str, object]]) -> str:
    lines = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table>{lines}</table>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    lines = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _list(lines: Iterable[object]) -> str:
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


def _names(names: Sequence[str]) -> str:
    return (
        "<ul>" + "".join(f"<li><code>{_text(name)}</code></li>" for name in names) + "</ul>" if names else ""
    )


def _mega(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB"


def _long(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.1f} s"
    minutes = seconds / 60
    return f"{minutes:,.0f} min" if minutes < 180 else f"{minutes / 60:,.1f} h"


def _text(value: object) -> str:
    return escape(str(value))
