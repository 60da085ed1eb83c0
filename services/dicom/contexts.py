"""Which presentation contexts are accepted, and in which transfer syntax (PS3.8 7.1.1.13, PS3.7 D.3.2)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Final

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from node.domain import ids
from services.dicom.channel import Context

SHORTEST_PDU: Final = 128
"""A peer whose maximum length is shorter is not served: our commands would come in crumbs."""

SERVICES: Final = frozenset(
    str(uid)
    for uid in (
        Verification,
        PatientRootQueryRetrieveInformationModelFind,
        PatientRootQueryRetrieveInformationModelMove,
        PatientRootQueryRetrieveInformationModelGet,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelMove,
        StudyRootQueryRetrieveInformationModelGet,
        StorageCommitmentPushModel,
    )
)
"""SOP classes other than storage that this node provides."""

PREFERRED: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
"""Native syntaxes first: a sender that has to compress for us might lose something."""


def supported(
    proposed: Iterable[PresentationContext], received: Container[str] = ()
) -> list[PresentationContext]:
    """The contexts to support for a peer that proposes these: one per SOP class that is provided here.

    Args:
        proposed: as they come in the request.
        received: SOP classes of which the peer wants to be sent instances, by C-GET.
    """
    syntaxes: dict[str, list[UID]] = {}
    for context in proposed:
        abstract = str(context.abstract_syntax)
        sound = [syntax for syntax in context.transfer_syntax if ids.UID.form.fullmatch(syntax)]
        if sound and (abstract in SERVICES or is_storage(abstract)):
            syntaxes.setdefault(abstract, []).extend(sound)
    return [
        _support(abstract, in_order(offered, received=abstract in received))
        for abstract, offered in syntaxes.items()
    ]


def agreed(association: Association) -> dict[int, Context]:
    """The contexts of an association that both sides accepted, by their identifier."""
    return {
        number: Context(
            id=number,
            abstract_syntax=str(found.abstract_syntax),
            transfer_syntax=ids.TransferSyntaxUID.trusted(found.transfer_syntax[0]),
            as_scu=bool(found.as_scu),
            as_scp=bool(found.as_scp),
        )
        for number, found in association._accepted_cx.items()
    }


def is_storage(abstract_syntax: str) -> bool:
    """Whether a SOP class is about storing: those that say so, and all that nobody has published."""
    entry = UID_dictionary.get(abstract_syntax)
    if entry is None:
        return ids.UID.form.fullmatch(abstract_syntax) is not None
    name, kind = entry[0], entry[1]
    return kind == "SOP Class" and "Storage" in name and "Commitment" not in name


def name_of(abstract_syntax: str) -> str:
    """The name of a SOP class, or its UID where it has none."""
    entry = UID_dictionary.get(abstract_syntax)
    return entry[0] if entry else abstract_syntax


def in_order(offered: Sequence[UID], *, received: bool = False) -> list[UID]:
    """Transfer syntaxes as this node prefers them: the native ones, then the peer's own order.

    A peer that wants to receive instances, and names another form than Little Endian first, knows best: what
    is stored in that form is sent as it is.
    """
    if received and offered[0] not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return list(dict.fromkeys(offered))
    native = [syntax for syntax in PREFERRED if syntax in offered]
    return list(dict.fromkeys([*native, *offered]))


def _support(abstract_syntax: str, ordered: list[UID]) -> PresentationContext:
    """A context that the acceptor supports; storage in both roles, as C-GET needs it (PS3.7 D.3.3.4).

    So is storage commitment: a foreign archive reports over an association of its own (PS3.4 J.3.3).
    """
    context = PresentationContext()
    context.abstract_syntax = UID(abstract_syntax)
    context.transfer_syntax = list(ordered)
    if abstract_syntax not in SERVICES or abstract_syntax == StorageCommitmentPushModel:
        context.scu_role = context.scp_role = True
    return context
