"""The services as `docs/SERVICES.md` describes them, out of their own declarations.

`python -m services.soap.reference` writes the sections of that page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from services.soap.framework.contract import Contract, Operation, contract_of
from services.soap.framework.faults import ALWAYS, FAMILIES
from services.soap.framework.model import Member
from services.soap.framework.service import Service
from services.soap.services import SERVICES


def faults() -> str:
    """The table of faults."""
    rows = (f"| `{one.name}` | {one.side} | {one.doc} |" for one in FAMILIES.values())
    return "\n".join(("| fault | whose | when |\n|---|---|---|", *rows))


def section(service: type[Service]) -> str:
    """The section about one service: what it is for, where it is, its operations."""
    contract = contract_of(service)
    where = (
        f"`/soap/{contract.path}/{contract.version}`, namespace `{contract.namespace}`, "
        f"document `wsdl/{contract.path}-{contract.version}.wsdl`."
    )
    parts = [f"## {contract.name}", sentences(contract.docs.text), where]
    return "\n\n".join((*parts, *(written(contract, one) for one in contract.operations.values()))) + "\n"


def written(contract: Contract, operation: Operation) -> str:
    """The part about one operation: its purpose, what is sent, what is answered, its faults."""
    title = f"### `{contract.name}.{operation.name}`"
    return "\n\n".join((title, sentences(operation.docs.text), *_details(operation)))


def sentences(text: str) -> str:
    """A text with one sentence a line, its paragraphs apart."""
    return re.sub(r"(?<=[\w)`]\.) (?=[A-Z])", "\n", text.replace("\n", "\n\n"))


def _details(operation: Operation) -> Iterator[str]:
    if operation.request:
        rows = (f"| `{one.tag}` | {_often(one)} | {_cell(one.doc)} |" for one in operation.request)
        yield "\n".join(("| element | how often | what it is |\n|---|---|---|", *rows))
    if operation.result is not None:
        told = operation.docs.returns or "True."
        yield f"Answers `{operation.result.tag}` ({_often(operation.result)}): {_lowered(told)}"
    own = [family for family in operation.faults if family not in ALWAYS]
    more = ", ".join(f"`{family.name}`" for family in own)
    yield f"Faults: {more}, and those of every operation." if more else "Faults: those of every operation."


def _often(one: Member) -> str:
    """How often an element stands in its message."""
    if one.least == one.most:
        return "once" if one.most == 1 else f"{one.most:,} times"
    return f"{one.least} to {one.most:,}" if one.many else "at most once"


def _lowered(text: str) -> str:
    """A sentence that goes on after a colon; abbreviations stay as they are."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write("\n".join((faults() + "\n", *map(section, SERVICES))))
