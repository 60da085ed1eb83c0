"""pynetdicom's own applications use the node, and pynetdicom asks it for storage commitment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from tests.support import synthetic
from tests.support.node_process import NodeProcess
from tests.support.part10 import File, archived
from tests.support.peers import environment, free_port
from tests.support.serving import eventually, serving
from tests.support.sinks import wait_for

STUDY = 4
PATIENCE = 60
ABSENT = "1.2.826.0.1.3680043.8.498.2.3.404"
NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0112, 0x0119


@pytest.fixture(scope="module")
def port() -> int:
    """Where the applications listen."""
    return free_port()


@pytest.fixture(scope="module")
def commitment_port() -> int:
    """Where the requestor of storage commitment is called back."""
    return free_port()


@pytest.fixture(scope="module")
def node(tmp_path_factory, port, commitment_port) -> Iterator[NodeProcess]:
    with serving(
        tmp_path_factory.mktemp("node"),
        ("SENDER", "127.0.0.1", commitment_port),
        ("STORESCP", "127.0.0.1", port),
    ) as node:
        yield node


@pytest.fixture(scope="module")
def stored(node, tmp_path_factory) -> dict[str, Path]:
    """A study that storescu has stored: its files by SOP Instance UID."""
    folder = tmp_path_factory.mktemp("in")
    paths = synthetic.write_study(folder, 5, study=STUDY, patient="P-APPS")
    app(node, "storescu", folder, "-cx")
    return {File.read(path).instance: path for path in paths}


def app(node: NodeProcess, name: str, *words: object, calling: str = "SENDER", check: bool = True) -> str:
    """Run an application against the node and return what it says."""
    options = ["-v", "-aet", calling, "-aec", node.ae_title]
    path = [word for word in words if isinstance(word, Path) and name == "storescu"]
    others = [word for word in words if word not in path]
    command = [sys.executable, "-m", "pynetdicom", name, node.host, node.dicom_port, *path, *options, *others]
    done = subprocess.run(
        [str(word) for word in command],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def keys(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("-k", pair)]


THE_STUDY = keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={synthetic.study_uid(STUDY)}")


def datasets(folder: Path) -> dict[str, Dataset]:
    """What an application has received, as it has written it."""
    read = [dcmread(path) for path in folder.iterdir()]
    return {str(one.SOPInstanceUID): one for one in read}


def assert_same(folder: Path, originals: dict[str, Path]) -> None:
    got = datasets(folder)
    assert set(got) == set(originals)
    assert all(got[uid] == dcmread(path) for uid, path in originals.items())


def test_echoscu_gets_its_answer(node):
    assert "Received Echo Response (Status: 0x0000 - Success)" in app(node, "echoscu")


def test_echoscu_of_a_stranger_is_rejected(node):
    said = app(node, "echoscu", calling="STRANGER", check=False)
    assert "Calling AE title not recognised" in said


@pytest.mark.parametrize("syntax", ["-xe", "-xi", "-xb"])
def test_storescu_stores_in_the_one_syntax_that_it_offers(node, tmp_path, syntax):
    number = {"-xe": 11, "-xi": 12, "-xb": 13}[syntax]
    wanted = {"-xe": "1.2.840.10008.1.2.1", "-xi": "1.2.840.10008.1.2", "-xb": "1.2.840.10008.1.2.2"}[syntax]
    image = synthetic.dataset(study=number, patient="P-APPS")
    path = tmp_path / "image.dcm"
    path.write_bytes(synthetic.part10(image, wanted))
    said = app(node, "storescu", path, "-cx", syntax)
    assert "Received Store Response (Status: 0x0000 - Success)" in said
    assert archived(node, image.SOPInstanceUID) == File.read(path)


def test_what_storescu_stored_is_archived_byte_by_byte(node, stored):
    for uid, path in stored.items():
        assert archived(node, uid) == File.read(path)


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_findscu_finds_the_study(node, stored, model, tmp_path):
    said = app(
        node, "findscu", model, *keys("QueryRetrieveLevel=STUDY", "PatientID=P-APPS", "PatientName=nova*"),
        *keys(f"StudyInstanceUID={synthetic.study_uid(STUDY)}"),
    )  # fmt: skip
    assert said.count("Pending") == 1
    assert "Find SCP Result: 0x0000 (Success)" in said
    assert "Nováková^Jana" in said


def test_findscu_may_offer_extended_negotiation(node, stored):
    """The node does not take it up, and answers as it would without it (PS3.4 C.5.1.1)."""
    options = ("--relational-query", "--dt-matching", "--fuzzy-names", "--timezone-adj")
    said = app(node, "findscu", "-S", *THE_STUDY, *options)
    assert said.count("Pending") == 1
    assert "Find SCP Result: 0x0000 (Success)" in said


@pytest.mark.parametrize("model", ["-S", "-P"])
def test_getscu_fetches_the_study(node, stored, model, tmp_path):
    wanted = [*THE_STUDY, *keys("PatientID=P-APPS")] if model == "-P" else THE_STUDY
    said = app(node, "getscu", model, *wanted, "-od", tmp_path)
    assert "Get SCP Result: 0x0000 (Success)" in said
    assert_same(tmp_path, stored)


def test_movescu_has_the_study_sent_to_itself(node, stored, port, tmp_path):
    said = app(node, "movescu", "-S", *THE_STUDY, "--store", "--store-port", port, "-od", tmp_path)
    assert "Move SCP Result: 0x0000 (Success)" in said
    assert_same(tmp_path, stored)


def test_movescu_has_the_study_sent_to_storescp(node, stored, port, tmp_path):
    with storescp(port, tmp_path):
        said = app(node, "movescu", "-S", *THE_STUDY, "-aem", "STORESCP")
    assert "Move SCP Result: 0x0000 (Success)" in said
    assert_same(tmp_path, stored)


@contextmanager
def storescp(port: int, folder: Path) -> Iterator[None]:
    """pynetdicom's storescp."""
    command = [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            yield
        finally:
            process.terminate()


class Requestor:
    """Asks for storage commitment with pynetdicom, and hears the report wherever it comes."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.entity = AE("SENDER")
        self.entity.add_requested_context(StorageCommitmentPushModel)
        self.entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)

    def hear(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.request.EventTypeID, event.event_information))
        return 0x0000, None

    @property
    def handlers(self) -> list[evt.EventHandlerType]:
        return [(evt.EVT_N_EVENT_REPORT, self.hear)]

    def associate(self, node: NodeProcess) -> Association:
        association = self.entity.associate(
            node.host, node.dicom_port, ae_title=node.ae_title, evt_handlers=self.handlers
        )
        assert association.is_established
        return association

    def report(self, transaction: str) -> tuple[int, Dataset]:
        """The one report of a transaction; that of an earlier one may still be on its way, and come first."""
        eventually(lambda: self._of(transaction), "the report has come")
        (report,) = self._of(transaction)
        return report

    def _of(self, transaction: str) -> list[tuple[int, Dataset]]:
        return [one for one in self.reports if one[1].TransactionUID == transaction]


def request(association: Association, *wanted: tuple[str, str]) -> str:
    """Ask for commitment of (SOP class, instance) and return the transaction."""
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = [item(*pair) for pair in wanted]
    status, _ = association.send_n_action(
        asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0000
    return str(asked.TransactionUID)


def item(sop_class: str, instance: str) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = sop_class, instance
    return made


def test_commitment_is_reported_on_the_association_that_waits_for_it(node, stored):
    requestor = Requestor()
    association = requestor.associate(node)
    transaction = request(association, *((CTImageStorage, uid) for uid in stored))
    kind, said = requestor.report(transaction)
    association.release()
    assert (kind, said.TransactionUID) == (1, transaction)
    assert {item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence} == set(stored)
    assert "FailedSOPSequence" not in said


def test_commitment_names_what_is_not_here_and_what_is_of_another_class(node, stored):
    held, other = sorted(stored)[:2]
    requestor = Requestor()
    association = requestor.associate(node)
    transaction = request(
        association, (CTImageStorage, held), (CTImageStorage, ABSENT), (MRImageStorage, other)
    )
    kind, said = requestor.report(transaction)
    association.release()
    assert (kind, said.TransactionUID) == (2, transaction)
    assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == [held]
    assert {item.ReferencedSOPInstanceUID: item.FailureReason for item in said.FailedSOPSequence} == {
        ABSENT: NO_SUCH_INSTANCE,
        other: CLASS_CONFLICT,
    }


def test_a_requestor_that_has_gone_is_called_back_with_the_report(node, stored, commitment_port):
    requestor = Requestor()
    server = requestor.entity.start_server(
        ("127.0.0.1", commitment_port), block=False, evt_handlers=requestor.handlers
    )
    try:
        association = requestor.associate(node)
        transaction = request(association, *((CTImageStorage, uid) for uid in stored))
        association.release()
        kind, said = requestor.report(transaction)
    finally:
        server.shutdown()
    assert (kind, said.TransactionUID) == (1, transaction)
    assert len(said.ReferencedSOPSequence) == len(stored)
    eventually(lambda: node.status()["jobs"] == 0, "nothing is owed any more")
