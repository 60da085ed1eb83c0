"""Signed messages between nodes: good ones, and ones that are signed again after exactly one change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lxml import etree

from node.domain.ids import SiteId
from node.domain.principal import Kind, Principal
from node.identity import assertion, keys, replay
from node.identity.assertion import ASSERTION, SECOND
from node.identity.keys import NodeKey
from node.identity.xmlnames import add
from node.identity.xmlread import parse
from node.identity.xmlsig import SIGNATURE, Part, sign, sign_parts
from services.soap.security import Caller, Signer, Verifier
from services.soap.security.names import (
    DIRECT_REFERENCE,
    ID,
    SECURITY,
    SOAP12,
    TIMESTAMP,
    TOKEN,
    TOKEN_REFERENCE,
    WSA,
    X509V3,
)

NOW = 1_800_000_000 * SECOND
BRNO, PRAGUE, PLZEN = SiteId("brno"), SiteId("prague"), SiteId("plzen")
TECHNICIAN = Principal(kind=Kind.OPERATOR, name="technician", site=BRNO)
ARRIVED = replace(TECHNICIAN, via=BRNO)
"""The same, as another site knows them: whoever comes by a node is nobody of this site."""
ACTION = "urn:konzilium:catalog:1:queryMappings"

Change = Callable[[etree._Element], object]


class Federation:
    """Brno calls Prague; Plzen is a member too, and a rogue says it is Brno."""

    def __init__(self, folder: Path) -> None:
        self.brno = keys.make(folder / "brno", site=BRNO, now=NOW)
        self.prague = keys.make(folder / "prague", site=PRAGUE, now=NOW)
        self.plzen = keys.make(folder / "plzen", site=PLZEN, now=NOW)
        self.rogue = keys.make(folder / "rogue", site=BRNO, now=NOW)
        self.members = {
            BRNO: (self.brno.pem,),
            PRAGUE: (self.prague.pem,),
            PLZEN: (self.plzen.pem,),
        }

    def certificates_of(self, site: SiteId) -> tuple[str, ...]:
        return self.members.get(site, ())

    def verifier(self, site: SiteId = PRAGUE, *, started: int = NOW - SECOND) -> Verifier:
        return Verifier(site=site, certificates_of=self.certificates_of, started=started)

    def assertions(self, *, started: int = NOW - SECOND) -> assertion.Verifier:
        return assertion.Verifier(
            site=PRAGUE, certificates_of=self.certificates_of, memory=replay.Memory(started=started)
        )

    def assertion(self, **different: object) -> etree._Element:
        given = {"key": self.brno, "audience": PRAGUE, "principal": TECHNICIAN, "now": NOW, **different}
        return assertion.issue(given.pop("key"), **given)  # type: ignore[arg-type]

    def message(self, **different: object) -> etree._Element:
        """A message of Brno to Prague that is good in every way, but for what is different."""
        given = {"audience": PRAGUE, "principal": TECHNICIAN, "action": ACTION, "now": NOW, **different}
        soap, key = given.pop("soap", SOAP12), given.pop("key", self.brno)
        return Signer(key).secure(envelope(soap), **given)  # type: ignore[arg-type]

    def verify(
        self,
        message: etree._Element,
        *,
        key: NodeKey | None = None,
        now: int = NOW,
        by: Verifier | None = None,
    ) -> Caller:
        """What Prague says of a message that arrives over the TLS connection of a key, Brno's by default."""
        arrived = parse(etree.tostring(message))
        return (by or self.verifier()).verify(arrived, (key or self.brno).fingerprint, now)


def envelope(soap: str = SOAP12, *, items: int = 3) -> etree._Element:
    """A request as a client makes it."""
    root = etree.Element(f"{{{soap}}}Envelope", nsmap={"soap": soap})
    query = add(add(root, f"{{{soap}}}Body"), "{urn:konzilium:catalog:1}queryMappings")
    for number in range(items):
        add(query, "{urn:konzilium:catalog:1}logicalName", f"1.2.3.{number}")
    return root


def security(message: etree._Element) -> etree._Element:
    found = message[0].find(SECURITY)
    assert found is not None
    return found


def body(message: etree._Element) -> etree._Element:
    return message[-1]


def signature(message: etree._Element) -> etree._Element:
    found = security(message).find(SIGNATURE)
    assert found is not None
    return found


def carried(message: etree._Element) -> etree._Element:
    """The assertion of a message."""
    found = security(message).find(ASSERTION)
    assert found is not None
    return found


def reissued(original: etree._Element, key: NodeKey, change: Change) -> etree._Element:
    """An assertion that its issuer would have signed with this change in it."""
    made = copy.deepcopy(original)
    made.remove(made.find(SIGNATURE))
    change(made)
    sign(made, key, position=1)
    return made


def resigned(
    message: etree._Element,
    key: NodeKey,
    change: Change,
    *,
    covered: Callable[[etree._Element], bool] = lambda element: True,
) -> etree._Element:
    """A message that its sender would have signed with this change in it.

    Whatever has its place in a message is covered, however often it is there; `covered` leaves something out.
    """
    made = copy.deepcopy(message)
    security(made).remove(signature(made))
    change(made)
    header = security(made)
    found = [*header.iterchildren(TIMESTAMP, TOKEN), *made.iterchildren("{*}Body")]
    found += [element for element in made[0] if etree.QName(element).namespace == WSA]
    for number, element in enumerate(found):
        element.set(ID, element.get(ID) or f"again-{number}")
    parts = [Part(element=element, attribute=ID) for element in found] + [
        Part(element=element) for element in header.iter(ASSERTION)
    ]
    token = header.find(TOKEN)
    reference = etree.Element(TOKEN_REFERENCE)
    add(reference, DIRECT_REFERENCE, URI=f"#{token.get(ID) if token is not None else ''}", ValueType=X509V3)
    sign_parts(header, [part for part in parts if covered(part.element)], key, [reference])
    return made
