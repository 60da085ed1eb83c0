"""Every expected failure has a DIMSE status that is a failure, and a comment that fits."""

from __future__ import annotations

import pytest
from pynetdicom.status import QR_FIND_SERVICE_CLASS_STATUS, STORAGE_SERVICE_CLASS_STATUS, code_to_category

from node.domain import errors
from node.domain.errors import NodeError
from services.dicom.messages import LONGEST_COMMENT
from services.dicom.status import COMMENTS, STATUS, comment_of, status_of


def leaves(kind=NodeError):
    children = kind.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [kind]


EXPECTED = {
    "MalformedIdentifier": 0xC000,
    "MalformedInstance": 0xC000,
    "MismatchedInstance": 0xA900,
    "MalformedQuery": 0xC000,
    "Unidentified": 0xC000,
    "UnknownInstance": 0x0112,
    "UnknownDestination": 0xA801,
    "Unauthenticated": 0x0124,
    "Forbidden": 0x0124,
    "StoreFull": 0xA700,
    "CatalogBusy": 0xA700,
    "TooBusy": 0xA700,
    "PeerUnreachable": 0xA700,
    "BlobMissing": 0x0110,
    "DigestMismatch": 0x0110,
}


@pytest.mark.parametrize("kind", [leaf for leaf in leaves() if leaf.__module__ == errors.__name__])
def test_every_error_has_a_status_that_is_a_failure(kind):
    error = kind("1.2", "3", "4")
    status = status_of(error)
    assert status == EXPECTED.get(kind.__name__, status)
    assert code_to_category(status) == "Failure"
    assert 0 < len(comment_of(error)) <= LONGEST_COMMENT


@pytest.mark.parametrize("status", sorted(set(STATUS.values()) - {0xA801}))
def test_every_status_is_one_that_pynetdicom_knows_as_a_failure_of_storage(status):
    assert STORAGE_SERVICE_CLASS_STATUS[status][0] == "Failure"


def test_the_status_of_an_unknown_destination_is_one_of_retrieval():
    from pynetdicom.status import QR_MOVE_SERVICE_CLASS_STATUS

    assert QR_MOVE_SERVICE_CLASS_STATUS[0xA801][0] == "Failure"
    assert QR_FIND_SERVICE_CLASS_STATUS[0xA700][0] == "Failure"


def test_comments_explain_every_status_of_the_table():
    assert set(STATUS) <= set(COMMENTS)


def test_a_quarantined_object_is_said_to_be_in_quarantine():
    assert "quarantine" in comment_of(errors.Unidentified("patient", "0" * 64))
