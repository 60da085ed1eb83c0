"""Persons at devices of a whole node: DCMTK and pynetdicom say who sits there, and the grants decide."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

from node.audit.record import Deed, read
from node.domain.account import LOCAL, AccountName
from node.domain.grant import Grant
from node.identity.accounts import Accounts
from node.wiring import open_site
from tests.support import synthetic, tokens
from tests.support.dcmtk import Dcmtk
from tests.support.node_process import NodeProcess
from tests.support.part10 import write
from tests.support.peers import requires, run
from tests.support.serving import surprises
from tests.support.sinks import keypair

pytestmark = pytest.mark.peer

FORBIDDEN = 0x0124
NO_REASON = "No Reason"
GOOD = "seven lanterns over the quay"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return keypair(tmp_path_factory.mktemp("keys"), "ward")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]) -> Iterator[NodeProcess]:
    requires("storescu")
    folder = tmp_path_factory.mktemp("node")
    node = NodeProcess.make(folder / "site", logs=folder)
    try:
        node.add_device("SENDER")
        node.add_device("WARD", "127.0.0.1", 2762, "--certificate", keys[0], "--people", "required")
        node.set("login.local", "true")
        node.set("login.tokens", tokens.write_issuer(folder / "tokens"))
        _account(node)
        node.start()
        yield node
        assert node.stop() == 0
        assert surprises(node) == []
    finally:
        node.kill()


def _account(node: NodeProcess) -> None:
    """An account whose holder has chosen a password and may read images."""
    with open_site(node.folder) as site:
        first = site.account_book.add(site.operator(), AccountName("jana"), display="Jana Test")
        accounts = Accounts(site.catalog, site.settings.site.name, local=True)
        accounts.enter("jana", first, new=GOOD, address="127.0.0.1")
    grant(node, "jana@brno", LOCAL)


def grant(node: NodeProcess, name: str, issuer: str) -> int:
    """Let a person read images; the number of the grant."""
    with open_site(node.folder) as site:
        return site.grants.give(site.operator(), Grant(issuer=issuer, name=name, role="radiologist")).id


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    raw = write(folder / "raw.dcm", synthetic.part10(synthetic.dataset(study=7)))
    run("dcmconv", "+te", raw, folder / "file.dcm")
    return folder / "file.dcm"


@pytest.fixture(scope="module")
def ward(node: NodeProcess, keys: tuple[Path, Path]) -> Dcmtk:
    """A shared workstation, over TLS."""
    trusted = node.folder / "keys" / "site.crt"
    return Dcmtk(node, "WARD", ("+tls", keys[1], keys[0], "+cf", trusted))


def by_password(password: str = GOOD, *more: object) -> tuple[object, ...]:
    return ("-usr", "jana", "-pwd", password, *more)


def deeds(node: NodeProcess) -> list[Deed]:
    with open_site(node.folder) as site, site.catalog.reading() as unit:
        return [read(record.deed) for record in unit.audit.after()]


def test_storescu_stores_for_a_person_and_the_record_names_the_person(
    node: NodeProcess, ward: Dcmtk, file: Path
) -> None:
    said = ward.store(file, options=by_password(GOOD, "-rsp"))
    assert said.statuses == [0]
    (stored,) = [deed for deed in deeds(node) if deed.event.name == "STORED"]
    assert (stored.who, stored.display, stored.device) == ("person:jana@brno@brno", "Jana Test", "WARD")
    assert stored.roles == ("radiologist",)
    assert GOOD not in node.log.read_text()


@pytest.mark.parametrize("options", [(), by_password("wrong wrong wrong"), ("-usr", "jana")])
def test_without_a_proof_a_shared_workstation_gets_nothing(
    node: NodeProcess, ward: Dcmtk, file: Path, options: tuple[object, ...]
) -> None:
    said = ward.store(file, options=options)
    assert said.statuses == []
    assert NO_REASON in said.reason
    refused = deeds(node)[-1]
    assert (refused.event.name, refused.refused, refused.device) == ("LOGIN", True, "WARD")


def test_a_password_in_the_clear_is_not_taken(node: NodeProcess, file: Path) -> None:
    assert NO_REASON in Dcmtk(node).store(file, options=by_password()).reason


def test_storescu_shows_a_token(node: NodeProcess, ward: Dcmtk, file: Path, tmp_path: Path) -> None:
    """Its person is known, and has no role yet."""
    shown = write_bytes(tmp_path / "token", tokens.token())
    assert ward.store(file, options=("--jwt", shown)).statuses == [FORBIDDEN]
    grant(node, "jana@hospital-brno.test", tokens.ISSUER)
    assert ward.store(file, options=("--jwt", shown)).statuses == [0]
    forged = write_bytes(tmp_path / "forged", tokens.token(key=tokens.OTHER_KEY))
    assert NO_REASON in ward.store(file, options=("--jwt", forged)).reason


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_role_that_ends_closes_the_next_call_of_an_association_that_is_open(
    node: NodeProcess, keys: tuple[Path, Path], ward: Dcmtk, file: Path
) -> None:
    assert ward.store(file, options=by_password()).statuses == [0]
    association = associate(node, keys)
    assert [status for status, _ in find(association)][-1] == 0
    with open_site(node.folder) as site:
        site.grants.end(site.operator(), grant(node, "jana@brno", LOCAL))
    assert [status for status, _ in find(association)] == [FORBIDDEN]
    association.release()
    grant(node, "jana@brno", LOCAL)


def test_a_locked_account_gets_no_more_associations(node: NodeProcess, keys: tuple[Path, Path]) -> None:
    associate(node, keys).release()
    with open_site(node.folder) as site:
        site.account_book.lock(site.operator(), "jana")
    assert associate(node, keys).is_rejected


def associate(node: NodeProcess, keys: tuple[Path, Path]) -> Association:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(node.folder / "keys" / "site.crt")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(*keys)
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.secondary_field = 2, b"jana", GOOD.encode()
    item.positive_response_requested = True
    requestor = AE("WARD")
    requestor.add_requested_context(Find)
    return requestor.associate(
        node.host, node.tls_port, ae_title=node.ae_title, ext_neg=[item], tls_args=(context, "localhost")
    )


def find(association: Association) -> list[tuple[int, Dataset | None]]:
    assert association.is_established
    assert association.acceptor.user_identity is not None
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", synthetic.study_uid(7)
    return [(status.Status, row) for status, row in association.send_c_find(query, Find)]
