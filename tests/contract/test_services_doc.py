"""docs/SERVICES.md says what the services are: every operation, every fault, every limit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.https.problem import STATUS
from services.run import nodes
from services.soap.framework.contract import contract_of
from services.soap.framework.faults import ALWAYS, FAMILIES
from services.soap.framework.limits import Limits
from services.soap.reference import faults, section, written
from services.soap.services import SERVICES

PAGE = (Path(__file__).parents[2] / "docs" / "SERVICES.md").read_text("utf-8")
HINT = "take the section that `python -m services.soap.reference` writes"
OPERATIONS = {
    f"{contract.name}.{operation.name}": (contract, operation)
    for contract in map(contract_of, SERVICES)
    for operation in contract.operations.values()
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described_as_its_contract_has_it(name):
    contract, operation = OPERATIONS[name]
    described = re.search(rf"^### `{re.escape(name)}`\n.*?(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert described is not None, HINT
    assert described[0].strip() == written(contract, operation).strip(), HINT


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
def test_every_service_has_its_section(service):
    assert section(service) in PAGE, HINT


def test_the_page_describes_no_operation_that_does_not_exist():
    assert set(re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_its_purpose_its_arguments_and_its_faults(name):
    _, operation = OPERATIONS[name]
    assert operation.docs.text.endswith(".")
    assert [one.name for one in operation.request if not one.doc] == []
    assert {family.name for family in ALWAYS} <= {family.name for family in operation.faults}


def test_every_fault_is_explained():
    assert faults() in PAGE, HINT
    everywhere = re.search(r"^Every operation may answer (.*); below", PAGE, re.MULTILINE)
    assert everywhere is not None
    assert set(re.findall(r"`(\w+)`", everywhere[1])) == {family.name for family in ALWAYS}


def test_every_fault_of_a_contract_is_in_the_table():
    named = {family.name for service in SERVICES for family in contract_of(service).faults}
    assert named <= set(FAMILIES)


MIB = 1 << 20
LIMITS = {
    "bytes of XML in a message": f"{Limits().body // MIB} MiB",
    "tags and attributes in a message": f"{Limits().marks:,}",
    "elements inside each other": f"{Limits().depth}",
    "bytes beside a message (MTOM)": f"{Limits().attached // (1024 * MIB)} GiB",
    "base64 inside a message": f"{Limits().inline // MIB} MiB",
    "calls of one member": f"{nodes.MEMBER_RATE:.0f} a second, {nodes.MEMBER_BURST:.0f} at once",
    "attempts to join from one address": (
        f"{nodes.STRANGER_RATE * 60:.0f} a minute, {nodes.STRANGER_BURST:.0f} at once"
    ),
    "messages from one address": f"{nodes.ADDRESS_RATE:.0f} a second, {nodes.ADDRESS_BURST:.0f} at once",
}


@pytest.mark.parametrize("what", LIMITS)
def test_every_limit_is_the_one_that_holds(what):
    assert f"| {what} | {LIMITS[what]} |" in PAGE


def test_the_page_names_no_limit_that_does_not_exist():
    table = PAGE.partition("\n## Limits\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| (?!what|---)(.*?) \|", table, re.MULTILINE)) == set(LIMITS)


def test_every_status_of_a_transfer_is_one_that_is_answered():
    table = PAGE.partition("\n## Transfer\n")[2]
    told = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(", ")
    }
    assert told <= {status.value for status in STATUS.values()}
    assert {400, 401, 403, 404, 413, 503} == told
