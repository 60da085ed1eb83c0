"""Programs of a site itself use its services with the node's own certificate, and may ask all sites."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from node.domain.errors import AccessDenied, Forbidden
from node.domain.ids import Digest
from node.domain.principal import Kind, Principal
from node.replication.site_answer import Answer
from node.wiring import Site
from services.https.client import Connection, Destination
from services.https.tls import client_context
from services.soap.catalog import ReplicaCatalog
from services.soap.client.session import Session
from services.soap.client.wire import Pool
from services.soap.framework.blob import Blob
from services.soap.security import Signer
from services.soap.storage import QueryKey, QueryLevel, Storage
from tests.federation.test_reach import acquaint, admit
from tests.support import neighbours
from tests.support.synthetic import dataset, instance, part10, study_uid


@pytest.fixture
def sites(tmp_path) -> Iterator[list[Site]]:
    with ExitStack() as stack:
        folders = [neighbours.made(tmp_path, name) for name in ("brno", "prague")]
        sites = [stack.enter_context(neighbours.serving(folder)) for folder in folders]
        acquaint(*sites)
        yield sites


def program(of: Site, at: Site, service=Storage) -> Session:
    """A program that holds the key of one site, at the door of a site."""
    key, port = of.home.key(), at.settings.node.port
    where = Destination(
        name=at.home.site,
        host="127.0.0.1",
        port=port,
        fingerprints=frozenset({at.home.key().fingerprint}),
    )
    context = client_context(of.home.key_folder / "node.crt", of.home.key_folder / "node.key")
    who = Principal(kind=Kind.DEVICE, name="PORTAL", site=of.home.site)
    signer = Signer(key)
    return Session(
        service,
        peer=at.home.site,
        pool=Pool(lambda: Connection(where, context)),
        target=f"/soap/{service.path}/{service.version}",
        secure=lambda envelope, action: signer.secure(
            envelope, audience=at.home.site, principal=who, action=action, now=at.clock()
        ),
    )


KEYS = (QueryKey(tag="0020000D", vr="UI"), QueryKey(tag="00100010", vr="PN"))


def test_a_program_of_the_site_searches_all_sites_in_one_call(sites):
    brno, prague = sites
    admit(brno, instance(study=1))
    admit(prague, instance(study=2, name="Dvořák^Antonín"))
    found = program(brno, brno).call(Storage.search_federation, level=QueryLevel.STUDY, key=KEYS)
    assert {(one.site, study_uid(number) in one.dataset) for number, one in enumerate(found.match, 1)} == {
        ("brno", True),
        ("prague", True),
    }
    assert {(one.site, one.state) for one in found.report} >= {("prague", Answer.ANSWERED)}


def test_a_member_is_told_to_ask_each_site_itself(sites):
    brno, prague = sites
    with pytest.raises(Forbidden):
        program(prague, brno).call(Storage.search_federation, level=QueryLevel.STUDY, key=KEYS)
    assert program(prague, brno).call(Storage.search, level=QueryLevel.STUDY, key=KEYS).site == "brno"


def test_a_program_of_the_site_puts_and_gets_an_object_in_a_message(sites):
    brno, _ = sites
    file = part10(dataset())
    fate = program(brno, brno).call(Storage.put_object, content=Blob.of(file))
    with program(brno, brno).open(Storage.get_object, digest=fate.digest) as content:
        assert Digest.trusted(fate.digest) and content.read()[-100:] == file[-100:]


def test_a_program_of_the_site_is_no_member_to_the_journals(sites):
    brno, _ = sites
    with pytest.raises(AccessDenied):
        program(brno, brno, ReplicaCatalog).call(ReplicaCatalog.wanted)
