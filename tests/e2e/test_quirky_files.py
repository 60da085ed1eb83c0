"""Odd files one by one over the network: stored and given back byte by byte, or kept in quarantine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.instance import Offer
from tests.support import quirky, synthetic
from tests.support.caller import STUDY_ROOT_GET, VERIFICATION, Caller
from tests.support.evidence import BLOBS, CATALOG
from tests.support.node_process import NodeProcess
from tests.support.part10 import File
from tests.support.quirky import Quirky
from tests.support.serving import serving

FILES = list(quirky.files())
SUCCESS, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA900, 0xC000
PATIENCE = 30.0
BROKEN = {"pydicom/MR_truncated.dcm", "pydicom/rtplan_truncated.dcm"}
"""Files that name themselves, and break off before their end: no archive may say that it has them."""


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[NodeProcess]:
    """A node that has to survive all of them: `serving` fails when one of its processes was replaced."""
    with serving(tmp_path_factory.mktemp("node"), ("SENDER",)) as node:
        yield node


@pytest.fixture(scope="module")
def first() -> dict[str, tuple[Offer, bytes]]:
    """What came first under each SOP Instance UID (some files share theirs): that is what is served."""
    return {}


def associate(node: NodeProcess, *offers: Offer) -> Caller:
    """An association in which these can be sent both ways."""
    return Caller.open(
        node.dicom_port,
        classes=[VERIFICATION, STUDY_ROOT_GET],
        receives=list({str(offer.sop_class) for offer in offers}),
        syntaxes=list({ExplicitVRLittleEndian, *(str(offer.transfer_syntax) for offer in offers)}),
        timeout=PATIENCE,
    )


def fetch(caller: Caller, offer: Offer) -> bytes:
    """C-GET one instance; its data set as it arrives."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    wanted.SOPInstanceUID = offer.instance
    got: list[bytes] = []

    def keep(_: str, fragments: Iterator[bytes]) -> int:
        got.append(b"".join(fragments))
        return SUCCESS

    answer = caller.get(synthetic.encoded(wanted), keep)
    assert answer[0x0900] == SUCCESS
    (content,) = got
    return content


def quarantined(node: NodeProcess) -> dict[str, bytes]:
    """The data sets in quarantine, by the names of their files, read from outside."""
    with closing(sqlite3.connect(node.folder / CATALOG, timeout=PATIENCE)) as catalog:
        digests = [digest for (digest,) in catalog.execute("SELECT digest FROM quarantine")]
    return {digest: File.read(node.folder / BLOBS / digest[:2] / digest).data for digest in digests}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_stored_and_comes_back_or_is_in_quarantine(node, first, file):
    offer, content = file.offer, file.content
    kept, served = first.get(offer.instance, (offer, content))
    with associate(node, offer, kept) as caller:
        status = caller.store(offer, [content])
        if status == SUCCESS:
            assert fetch(caller, offer) == served
            first[offer.instance] = kept, served
        else:
            assert status in {MISMATCH, CANNOT_UNDERSTAND}
            assert content in quarantined(node).values()
        assert (status == SUCCESS) == expected(file), f"status {status:04X}"
        assert caller.echo() == SUCCESS


def expected(file: Quirky) -> bool:
    return file.identified and file.name not in BROKEN


def test_there_are_enough_files_of_both_kinds():
    assert sum(map(expected, FILES)) > 120
    assert sum(not expected(file) for file in FILES) > 10
