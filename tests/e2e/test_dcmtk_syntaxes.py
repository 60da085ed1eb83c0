"""DCMTK sends and fetches instances of every transfer syntax it knows, and every byte comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from tests.support import synthetic
from tests.support.dcmtk import Dcmtk
from tests.support.node_process import NodeProcess
from tests.support.part10 import File, archived, files, write
from tests.support.peers import requires, run
from tests.support.serving import serving
from tests.support.sinks import storescp

pytestmark = pytest.mark.peer

NO_SUCH_DESTINATION, CANCELLED = 0xA801, 0xFE00


@dataclass(frozen=True, slots=True)
class Syntax:
    """A transfer syntax in DCMTK's words."""

    uid: str
    propose: str
    """Option of storescu; getscu's says `+` where this says `-`."""
    made_by: tuple[str, ...] = ()
    """DCMTK's converter; empty for a bit stream that nobody decodes on the way."""
    bits: int = 16


SYNTAXES = {
    "implicit": Syntax(uid.ImplicitVRLittleEndian, "-xi", ("dcmconv", "+ti")),
    "explicit": Syntax(uid.ExplicitVRLittleEndian, "-xe", ("dcmconv", "+te")),
    "jpeg": Syntax(uid.JPEGBaseline8Bit, "-xy", ("dcmcjpeg", "+eb"), bits=8),
    "jpeg-12": Syntax(uid.JPEGExtended12Bit, "-xx", ("dcmcjpeg", "+ee"), bits=12),
    "jpeg-lossless": Syntax(uid.JPEGLosslessSV1, "-xs", ("dcmcjpeg", "+e1")),
    "jpeg-ls": Syntax(uid.JPEGLSLossless, "-xt", ("dcmcjpls", "+el")),
    "jpeg-ls-near": Syntax(uid.JPEGLSNearLossless, "-xu", ("dcmcjpls", "+en")),
    "rle": Syntax(uid.RLELossless, "-xr", ("dcmcrle",)),
    "j2k-lossless": Syntax(uid.JPEG2000Lossless, "-xv"),
    "j2k": Syntax(uid.JPEG2000, "-xw"),
    "mpeg2": Syntax(uid.MPEG2MPML, "-xm"),
    "mpeg2-high": Syntax(uid.MPEG2MPHL, "-xh"),
    "mpeg4": Syntax(uid.MPEG4HP41, "-xn"),
    "mpeg4-bd": Syntax(uid.MPEG4HP41BD, "-xl"),
    "mpeg4-2d": Syntax(uid.MPEG4HP422D, "-x2"),
    "mpeg4-3d": Syntax(uid.MPEG4HP423D, "-x3"),
    "mpeg4-stereo": Syntax(uid.MPEG4HP42STEREO, "-xo"),
    "hevc": Syntax(uid.HEVCMP51, "-x4"),
    "hevc-10": Syntax(uid.HEVCM10P51, "-x5"),
    "big-endian": Syntax(uid.ExplicitVRBigEndian, "-xb", ("dcmconv", "+tb")),
    "deflated": Syntax(uid.DeflatedExplicitVRLittleEndian, "-xd", ("dcmconv", "+td")),
}
EVERY = list(SYNTAXES)
NUMBER = {name: number for number, name in enumerate(SYNTAXES, 100)}
"""The study of each syntax."""


@pytest.fixture(scope="module")
def sink(tmp_path_factory) -> Iterator[tuple[Path, int]]:
    """DCMTK's storescp taking all that it knows: where it writes, and its port."""
    folder = tmp_path_factory.mktemp("sink")
    with storescp(folder, "+xa") as port:
        yield folder, port


@pytest.fixture(scope="module")
def node(tmp_path_factory, sink) -> Iterator[NodeProcess]:
    requires("storescu")
    with serving(tmp_path_factory.mktemp("node"), ("SENDER",), ("SINK", "127.0.0.1", sink[1])) as node:
        yield node


@pytest.fixture(scope="module")
def sent(node, tmp_path_factory) -> dict[str, File]:
    """Store one study of each syntax; what was sent, by the name of its syntax."""
    folder = tmp_path_factory.mktemp("files")
    done = {}
    for name, syntax in SYNTAXES.items():
        path = make(folder / name, name, syntax)
        said = Dcmtk(node).store(path, options=(syntax.propose,))
        assert said.statuses == [0], f"{name}:\n{said.text}"
        done[name] = on_the_wire(File.read(path))
        assert done[name].transfer_syntax == syntax.uid
    return done


def on_the_wire(file: File) -> File:
    """The file as it travels: what is deflated is padded to an even length there (PS3.5 A.5)."""
    return replace(file, data=file.data + b"\0" * (len(file.data) % 2))


def make(folder: Path, name: str, syntax: Syntax) -> Path:
    """Write the file of a syntax, by DCMTK, so that DCMTK sends its data set as it stands."""
    image = image_of(name, syntax.bits)
    raw, path = folder / "raw.dcm", folder / "file.dcm"
    if syntax.made_by:
        write(raw, synthetic.part10(image))
        run(*syntax.made_by, *keep_uid(syntax), raw, path)
    else:
        image.PixelData = encapsulate([synthetic.NOISE[:1000], synthetic.NOISE[1000:3001] + b"\0"])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
        image.NumberOfFrames = 2
        write(raw, synthetic.part10(image, syntax.uid))
        run("dcmconv", raw, path)
    return path


def keep_uid(syntax: Syntax) -> tuple[str, ...]:
    """The lossy converters change the SOP Instance UID unless they are told not to."""
    return ("+un",) if syntax.made_by[0] in {"dcmcjpeg", "dcmcjpls"} else ()


def image_of(name: str, bits: int) -> Dataset:
    image = synthetic.dataset(study=NUMBER[name], patient=f"P-{name}", side=64)
    image.BitsStored = bits
    image.HighBit = bits - 1
    if bits == 8:
        image.BitsAllocated = 8
        image.PixelData = image.PixelData[: 64 * 64]
    elif bits < 16:
        image.PixelData = bytes(
            byte & 0x0F if place % 2 else byte for place, byte in enumerate(image.PixelData)
        )
    return image


def instance(name: str) -> str:
    return synthetic.instance_uid(NUMBER[name], 1, 1)


def study(*names: str) -> tuple[str, str]:
    wanted = "\\".join(synthetic.study_uid(NUMBER[name]) for name in names)
    return "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={wanted}"


@pytest.mark.parametrize("name", EVERY)
def test_a_stored_instance_is_kept_as_it_was_sent(node, sent, name):
    assert archived(node, instance(name)) == sent[name]


@pytest.mark.parametrize("name", EVERY)
def test_c_move_sends_every_syntax_as_it_was_stored(node, sent, sink, name):
    said = Dcmtk(node).move("SINK", *study(name))
    assert (said.status, said.counts) == (0, {"completed": 1, "failed": 0, "warning": 0}), said.text
    assert files(sink[0])[instance(name)] == sent[name]


@pytest.mark.parametrize("name", [name for name in EVERY if name != "implicit"])
def test_c_get_brings_every_syntax_as_it_was_stored(node, sent, tmp_path, name):
    said = Dcmtk(node).get(tmp_path, *study(name), options=(SYNTAXES[name].propose.replace("-", "+"),))
    assert (said.status, said.counts) == (0, {"completed": 1, "failed": 0, "warning": 0}), said.text
    assert files(tmp_path) == {instance(name): sent[name]}


def test_a_receiver_that_takes_explicit_vr_only_gets_what_is_stored_implicit(node, sent, tmp_path):
    """What DCMTK's getscu calls +xi proposes Explicit VR; the content is that of DCMTK's own conversion."""
    make(tmp_path, "implicit", SYNTAXES["explicit"])
    said = Dcmtk(node).get(tmp_path / "got", *study("implicit"), options=("+xi",))
    assert said.status == 0
    assert files(tmp_path / "got") == {instance("implicit"): File.read(tmp_path / "file.dcm")}


def test_one_c_move_brings_studies_of_all_syntaxes(node, sent, tmp_path):
    with storescp(tmp_path, "+xa") as port:
        node.add_device("SINK2", "127.0.0.1", port)
        said = Dcmtk(node).move("SINK2", *study(*EVERY))
    assert (said.status, said.counts["completed"]) == (0, len(EVERY)), said.text
    assert files(tmp_path) == {instance(name): sent[name] for name in EVERY}


def test_a_destination_that_cannot_take_a_syntax_gets_the_others_and_the_failure_is_counted(
    node, sent, tmp_path
):
    with storescp(tmp_path, "+xe") as port:
        node.add_device("PLAINSINK", "127.0.0.1", port)
        said = Dcmtk(node).move("PLAINSINK", *study("explicit", "implicit", "rle"))
    assert (said.status, said.counts) == (0xB000, {"completed": 2, "failed": 1, "warning": 0}), said.text
    assert set(files(tmp_path)) == {instance("explicit"), instance("implicit")}


def test_a_move_to_an_unknown_destination_is_refused(node, sent):
    assert Dcmtk(node).move("NOWHERE", *study("explicit")).statuses == [NO_SUCH_DESTINATION]


def test_a_move_to_a_destination_that_does_not_listen_fails_with_its_count(node, sent):
    node.add_device("DEAF", "127.0.0.1", 1)
    said = Dcmtk(node).move("DEAF", *study("explicit"))
    assert (said.status, said.counts) == (0xA702, {"completed": 0, "failed": 1, "warning": 0})


@pytest.mark.parametrize(
    ("level", "unique"),
    [
        ("SERIES", ("SeriesInstanceUID", 1)),
        ("IMAGE", ("SOPInstanceUID", 3)),
        ("STUDY", ("StudyInstanceUID", 12)),
    ],
)
@pytest.mark.parametrize("model", ["-S", "-P"])
def test_c_get_at_each_level_brings_what_is_below_it(node, tmp_path, level, unique, model):
    number = 50
    paths = synthetic.write_study(tmp_path / "in", 12, series=4, study=number, patient="P-LEVELS")
    assert set(Dcmtk(node).send(tmp_path / "in", options=("+sd",)).statuses) == {0}
    name, expected = unique
    uids = {
        "PatientID": "P-LEVELS",
        "StudyInstanceUID": synthetic.study_uid(number),
        "SeriesInstanceUID": synthetic.series_uid(number, 1),
        "SOPInstanceUID": "\\".join(synthetic.instance_uid(number, 1, n) for n in (1, 5, 9)),
    }
    keys = [f"{key}={uids[key]}" for key in list(uids)[: list(uids).index(name) + 1]]
    said = Dcmtk(node).get(
        tmp_path / "out", f"QueryRetrieveLevel={level}", *keys[model == "-S" :], model=model
    )
    assert said.status == 0, said.text
    got = files(tmp_path / "out")
    assert len(got) == (3 if level == "SERIES" else expected)
    originals = {File.read(path).instance: File.read(path).data for path in paths}
    assert all(originals[uid] == file.data for uid, file in got.items())


def test_a_cancelled_c_move_stops_and_says_how_far_it_came(node, sink, tmp_path):
    synthetic.write_study(tmp_path, 400, study=51, patient="P-MANY")
    assert set(Dcmtk(node).send(tmp_path, options=("+sd",)).statuses) == {0}
    said = Dcmtk(node).move(
        "SINK",
        "QueryRetrieveLevel=STUDY",
        f"StudyInstanceUID={synthetic.study_uid(51)}",
        options=("--cancel", 1),
    )
    assert said.status == CANCELLED, said.text
    assert 0 <= said.counts["completed"] < 400
    arrived = [uid for uid in files(sink[0]) if uid.startswith(f"{synthetic.ROOT}.3.51.")]
    assert len(arrived) == said.counts["completed"]


def test_c_get_of_a_patient_brings_all_of_its_studies(node, sent, tmp_path):
    said = Dcmtk(node).get(tmp_path, "QueryRetrieveLevel=PATIENT", "PatientID=P-explicit", model="-P")
    assert said.status == 0
    assert files(tmp_path) == {instance("explicit"): sent["explicit"]}


def test_dcmsend_sends_a_folder_of_all_syntaxes_at_once(node, sent, tmp_path):
    """The same bytes again: nothing is kept twice, and nothing is a conflict."""
    before = node.status()
    for name in EVERY:
        make(tmp_path / name, name, SYNTAXES[name])
        (tmp_path / name / "raw.dcm").unlink()
    said = Dcmtk(node).send(tmp_path, options=("+sd", "+r", "-dn"))
    assert said.statuses == [0] * len(EVERY), said.text
    after = node.status()
    assert (after["instances"], after["bytes"]) == (before["instances"], before["bytes"])
