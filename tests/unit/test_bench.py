"""The benchmark's client sends what it says it sends."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from bench import blaster, corpus, wire
from bench.figures import FIGURES


def sent(template, identity, longest):
    """The command set and the data set of a request for an instance, as they leave the client."""
    message = blaster.StoreRequest(template, 1, longest).of(identity, 7)
    parts = {True: b"", False: b""}
    for kind, unit in units(message):
        assert kind == wire.DATA
        assert len(unit) <= longest
        parts[bool(unit[5] & 1)] += unit[6:]
    return wire.decode(parts[True]), parts[False]


def units(data):
    while data:
        length = int.from_bytes(data[2:6])
        yield data[0], data[6 : 6 + length]
        data = data[6 + length :]


@pytest.mark.parametrize("longest", [16384, 131072])
@pytest.mark.parametrize("template", [corpus.ct, corpus.mr, corpus.small])
def test_a_patched_template_is_the_instance_it_claims_to_be(template, longest):
    identity = corpus.identity(4711, series=1, number=12)
    command, data = sent(template(), identity, longest)
    data_set = dcmread(BytesIO(data), force=True)
    assert command[0x1000].rstrip(b"\0").decode() == data_set.SOPInstanceUID == identity.instance
    assert int.from_bytes(command[0x0110], "little") == 7
    assert data_set.SeriesInstanceUID == identity.series
    assert data_set.StudyInstanceUID == identity.study
    assert data_set.PatientID == identity.patient_id
    assert data_set.PatientName == identity.name
    assert data_set.AccessionNumber == identity.accession
    assert data_set.StudyDate == identity.study_date
    assert data_set.InstanceNumber == identity.number
    assert len(data_set.PixelData) == data_set.Rows * data_set.Columns * 2


def test_no_two_instances_of_the_corpus_share_an_identifier():
    identities = [
        corpus.identity(study, series=series, number=number)
        for study in (0, 1, 99_999, 1_000_000)
        for series in range(2)
        for number in (1, 2, 500)
    ]
    assert len({identity.instance for identity in identities}) == len(identities)
    assert len({identity.series for identity in identities}) == 8
    assert len({identity.study for identity in identities}) == 4


def test_every_figure_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "BENCH.md").read_text("utf-8")
    assert [name for name in FIGURES if f"`{name}`" not in page] == []
