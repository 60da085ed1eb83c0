"""Storage of every kind is accepted, in the syntax that loses nothing; other services are not."""

from __future__ import annotations

import pytest
from pydicom.uid import UID
from pynetdicom.presentation import build_context, negotiate_as_acceptor
from pynetdicom.sop_class import _STORAGE_CLASSES, ModalityPerformedProcedureStep, Verification

from services.dicom.contexts import SERVICES, in_order, is_storage, name_of, supported

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG, JPEG2000, PRIVATE = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.3.6.1.4.1.9999.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def negotiated(*proposals, roles=None, received=()):
    proposed = []
    for number, (abstract, syntaxes) in enumerate(proposals):
        context = build_context(abstract, list(syntaxes))
        context.context_id = 2 * number + 1
        proposed.append(context)
    return negotiate_as_acceptor(proposed, supported(proposed, received), roles)


@pytest.mark.parametrize("uid", sorted(_STORAGE_CLASSES.values()))
def test_every_storage_class_that_pynetdicom_knows_is_storage(uid):
    assert is_storage(uid)


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image Storage
        "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame Image Storage
        "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine Image Storage
        "1.2.840.10008.5.1.4.1.1.9",  # Standalone Curve Storage
        "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane Image Storage
    ],
)
def test_retired_storage_classes_are_storage(uid):
    assert is_storage(uid)


def test_private_and_unpublished_classes_are_storage():
    assert is_storage("1.3.12.2.1107.5.9.1")
    assert is_storage("1.2.840.10008.5.1.4.1.1.99999")


def test_names_that_are_no_uids_are_not_accepted():
    assert not is_storage("1.2.84|.10008")
    contexts, _ = negotiated((CT, ["1.2.x"]), (CT, [EXPLICIT]))
    assert [context.result for context in contexts] == [4, 0]


@pytest.mark.parametrize("uid", [*SERVICES, ModalityPerformedProcedureStep, "1.2.840.10008.5.1.4.31"])
def test_other_services_are_no_storage(uid):
    assert not is_storage(str(uid))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([IMPLICIT, EXPLICIT], EXPLICIT),
        ([JPEG, IMPLICIT], IMPLICIT),
        ([JPEG, BIG, DEFLATED], DEFLATED),
        ([JPEG2000, BIG, JPEG], BIG),
        ([JPEG2000, JPEG], JPEG2000),
        ([JPEG, JPEG2000], JPEG),
        ([PRIVATE], PRIVATE),
        ([PRIVATE, JPEG], PRIVATE),
    ],
)
def test_native_syntaxes_are_preferred_then_the_peers_order(offered, chosen):
    contexts, _ = negotiated((CT, offered))
    assert [(context.result, context.transfer_syntax) for context in contexts] == [(0, [UID(chosen)])]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([JPEG, EXPLICIT, BIG, IMPLICIT], JPEG),
        ([JPEG2000, JPEG, EXPLICIT], JPEG2000),
        ([DEFLATED, EXPLICIT], DEFLATED),
        ([IMPLICIT, EXPLICIT, JPEG], EXPLICIT),
        ([EXPLICIT, JPEG], EXPLICIT),
    ],
)
def test_a_peer_that_wants_to_receive_gets_the_form_that_it_names_first(offered, chosen):
    contexts, _ = negotiated((CT, offered), received={CT})
    assert [(context.result, context.transfer_syntax) for context in contexts] == [(0, [UID(chosen)])]


def test_every_syntax_that_has_a_context_of_its_own_is_accepted():
    syntaxes = [IMPLICIT, EXPLICIT, JPEG, PRIVATE]
    contexts, _ = negotiated(*((CT, [syntax]) for syntax in syntaxes))
    assert [context.transfer_syntax[0] for context in contexts] == syntaxes
    assert {context.result for context in contexts} == {0}


def test_the_most_contexts_there_can_be_are_accepted():
    contexts, _ = negotiated(*((f"1.3.6.1.4.1.9999.2.{n}", [IMPLICIT, JPEG]) for n in range(128)))
    assert len(contexts) == 128
    assert {context.result for context in contexts} == {0}


def test_a_service_that_is_not_provided_is_rejected_by_its_context():
    contexts, _ = negotiated((ModalityPerformedProcedureStep, [IMPLICIT]), (Verification, [IMPLICIT]))
    assert [context.result for context in contexts] == [3, 0]


def test_a_requestor_that_wants_to_receive_instances_may():
    contexts, roles = negotiated((CT, [EXPLICIT]), roles={UID(CT): (False, True)})
    assert contexts[0].as_scu
    assert not contexts[0].as_scp
    assert [(role.scu_role, role.scp_role) for role in roles] == [(False, True)]


def test_without_role_selection_the_requestor_only_sends():
    contexts, roles = negotiated((CT, [EXPLICIT]))
    assert contexts[0].as_scp
    assert not contexts[0].as_scu
    assert roles == []


def test_order_keeps_every_syntax_once():
    assert in_order([UID(JPEG), UID(IMPLICIT), UID(JPEG)]) == [IMPLICIT, JPEG]


def test_classes_are_named_in_words():
    assert name_of(CT) == "CT Image Storage"
    assert name_of("1.2.3") == "1.2.3"
