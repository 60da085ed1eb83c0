"""DCMTK's tools and the door: who is let in, plainly and over TLS, and what each may do there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import synthetic
from tests.support.dcmtk import Dcmtk
from tests.support.node_process import NodeProcess
from tests.support.part10 import File, archived, files, write
from tests.support.peers import requires, run
from tests.support.serving import serving
from tests.support.sinks import keypair, storescp

pytestmark = pytest.mark.peer

CALLING, CALLED = "Calling AE Title Not Recognized", "Called AE Title Not Recognized"
FORBIDDEN, UNABLE = 0x0124, 0xA702
FAILED = "Association Request Failed"
"""What DCMTK says when there is not even an answer, as after a TLS handshake that failed."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: keypair(folder, name) for name in ("pinned", "other", "stranger")}


@pytest.fixture(scope="module")
def node(tmp_path_factory, certificates) -> Iterator[NodeProcess]:
    requires("echoscu")
    with serving(
        tmp_path_factory.mktemp("node"),
        ("SENDER",),
        ("ELSEWHERE", "192.0.2.7", 104),
        ("STOREONLY", "127.0.0.1", 104, "--may", "store"),
        ("QUERYONLY", "127.0.0.1", 104, "--may", "query"),
        ("PINNED", "127.0.0.1", 2762, "--certificate", certificates["pinned"][0]),
        ("OTHER", "127.0.0.1", 2762, "--certificate", certificates["other"][0]),
    ) as node:
        yield node


@pytest.fixture
def file(tmp_path) -> Path:
    """A file whose data set DCMTK sends as it stands, since DCMTK wrote it."""
    raw = write(tmp_path / "raw.dcm", synthetic.part10(synthetic.dataset(study=7, side=256)))
    run("dcmconv", "+te", raw, tmp_path / "file.dcm")
    return tmp_path / "file.dcm"


def study(number: int) -> tuple[str, str]:
    return "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={synthetic.study_uid(number)}"


def over_tls(keys: tuple[Path, Path] | None, trusted: Path) -> tuple[object, ...]:
    """DCMTK's options: its key and certificate (or none), and the certificate of the node."""
    own = ("+tls", keys[1], keys[0]) if keys else ("+tla",)
    return *own, "+cf", trusted


@pytest.fixture(scope="module")
def site_certificate(node) -> Path:
    """The file that `konzilium init` tells people to give to their devices."""
    return node.folder / "keys" / "site.crt"


def test_a_known_device_gets_its_echo(node):
    assert Dcmtk(node).echo().echoed


def test_the_node_says_what_it_is(node):
    """Implementation Class UID and Version Name (PS3.7 D.3.3.2), the same as in the files that it writes."""
    said = Dcmtk(node).echo().text
    assert "Their Implementation Class UID:    2.25.302183214570984561840157234409825410912" in said
    assert "Their Implementation Version Name: KONZILIUM_1" in said


def test_an_unknown_device_is_rejected_and_can_be_accepted_with_one_command(node):
    stranger = Dcmtk(node, "STRANGER")
    assert stranger.echo().reason == CALLING
    assert '"ae_title": "STRANGER"' in node.command("device", "pending", ..., "--json").stdout
    node.command("device", "accept", ..., "STRANGER")
    assert stranger.echo().echoed
    node.command("device", "remove", ..., "STRANGER")
    assert stranger.echo().reason == CALLING


def test_a_device_that_calls_somebody_else_is_rejected(node):
    assert Dcmtk(node).echo(called="ANOTHER").reason == CALLED


def test_a_known_title_from_another_address_is_rejected(node):
    assert Dcmtk(node, "ELSEWHERE").echo().reason == CALLING


def test_a_sop_class_that_is_not_served_is_not_accepted(node):
    """Modality Worklist: the association stands, the presentation context does not."""
    said = Dcmtk(node).call("findscu", "-W", "-k", "PatientName=*")
    assert "No Acceptable Presentation Contexts" in said.text
    assert said.statuses == []


def test_a_device_added_to_store_only_may_store_and_may_not_ask_or_fetch(node, file, tmp_path):
    storer = Dcmtk(node, "STOREONLY")
    assert storer.store(file).status == 0
    assert storer.find(*study(7)).statuses == [FORBIDDEN]
    assert storer.get(tmp_path / "got", *study(7)).statuses == [FORBIDDEN]
    assert storer.move("SENDER", *study(7)).statuses == [FORBIDDEN]
    assert list((tmp_path / "got").iterdir()) == []


def test_a_device_added_to_query_only_may_not_store(node, tmp_path):
    path = write(tmp_path / "new.dcm", synthetic.part10(synthetic.dataset(study=8)))
    asker = Dcmtk(node, "QUERYONLY")
    assert asker.store(path).statuses == [FORBIDDEN]
    assert asker.find(*study(8)).rows == []
    assert asker.find(*study(8)).statuses == [0]


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_a_device_with_its_certificate_stores_finds_and_fetches_over_tls(
    node, certificates, site_certificate, profile, file
):
    """By each of the BCP 195 profiles (PS3.15 B.9, B.10, B.12); DCMTK's getscu and movescu know no TLS."""
    device = Dcmtk(node, "PINNED", (*over_tls(certificates["pinned"], site_certificate), profile))
    assert device.echo().echoed
    assert device.store(file).status == 0
    assert len(device.find(*study(7)).rows) == 1
    assert archived(node, synthetic.instance_uid(7, 1, 1)).data == File.read(file).data


def test_a_caller_without_a_certificate_is_refused(node, site_certificate):
    said = Dcmtk(node, "PINNED", over_tls(None, site_certificate)).echo()
    assert FAILED in said.text
    assert not said.echoed


def test_a_certificate_that_no_device_has_is_refused(node, certificates, site_certificate):
    said = Dcmtk(node, "PINNED", over_tls(certificates["stranger"], site_certificate)).echo()
    assert FAILED in said.text
    assert not said.echoed


def test_a_certificate_of_another_device_is_rejected(node, certificates, site_certificate):
    assert Dcmtk(node, "PINNED", over_tls(certificates["other"], site_certificate)).echo().reason == CALLING
    assert Dcmtk(node, "OTHER", over_tls(certificates["other"], site_certificate)).echo().echoed


def test_the_plain_port_is_closed_to_a_device_with_a_certificate(node):
    assert Dcmtk(node, "PINNED").echo().reason == CALLING


def test_the_retired_profiles_without_forward_secrecy_are_refused(node, certificates, site_certificate):
    keys = over_tls(certificates["pinned"], site_certificate)
    for profile in ("+pa", "+pn"):
        said = Dcmtk(node, "PINNED", (*keys, profile)).echo()
        assert not said.echoed, profile
        assert FAILED in said.text, profile


def test_a_study_is_moved_over_tls_to_a_destination_that_has_a_certificate(
    node, certificates, site_certificate, file, tmp_path
):
    """The node shows its own certificate there, and looks for the one that the destination was added with."""
    assert Dcmtk(node).store(file).status == 0
    received = tmp_path / "received"
    received.mkdir()
    with storescp(received, *over_tls(certificates["pinned"], site_certificate)) as port:
        for name, shown in (("TLSSINK", "pinned"), ("IMPOSTOR", "other")):
            node.add_device(name, "127.0.0.1", port, "--certificate", certificates[shown][0])
        assert Dcmtk(node).move("IMPOSTOR", *study(7)).status == UNABLE
        assert Dcmtk(node).move("TLSSINK", *study(7)).status == 0
    assert files(received) == {synthetic.instance_uid(7, 1, 1): File.read(file)}


def test_plain_dicom_on_the_tls_port_gets_no_association(node):
    said = run(
        "echoscu", "-v", "-aet", "SENDER", "-aec", node.ae_title, node.host, node.tls_port, check=False
    )
    assert said.returncode != 0
    assert FAILED in said.stdout
    assert Dcmtk(node).echo().echoed


def test_the_largest_request_for_an_association_is_understood(node):
    """128 presentation contexts with 38 transfer syntaxes each."""
    assert Dcmtk(node).call("echoscu", "-ppc", 128, "-pts", 38).echoed


def test_an_aborted_association_leaves_the_node_as_it_was(node, file):
    assert Dcmtk(node).call("echoscu", "--abort").echoed
    assert Dcmtk(node).store(file, options=("--abort",)).statuses == [0]
    assert Dcmtk(node).echo().echoed


def test_a_sender_that_names_its_user_is_served(node, file):
    """User Identity Negotiation (PS3.7 D.3.3.7) of a device that is not asked for it."""
    node.add_device("CHATTY", "127.0.0.1", 11112, "--people", "ignored")
    options = ("-usr", "technician", "-pwd", "secret")
    assert Dcmtk(node, "CHATTY").store(file, options=options).statuses == [0]
    assert "secret" not in node.log.read_text()


@pytest.mark.parametrize("length", [4096, 131072])
def test_messages_are_cut_to_what_the_peer_takes(node, file, tmp_path, length):
    pdu = ("-pdu", length, "--max-send-pdu", length)
    assert Dcmtk(node).store(file, options=pdu).statuses == [0]
    assert Dcmtk(node).get(tmp_path / "got", *study(7), options=("-pdu", length)).status == 0
    assert files(tmp_path / "got") == {synthetic.instance_uid(7, 1, 1): File.read(file)}
    assert len(Dcmtk(node).find(*study(7), options=("-pdu", length)).rows) == 1
