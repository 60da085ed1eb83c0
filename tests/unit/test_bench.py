"""The benchmark's client sends what it says it sends."""

import json
import os
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from bench import blaster, corpus, wire
from bench.figures import FIGURES
from bench.network.hosts import Line, hosts
from bench.report import table
from tests.support.peers import requires, requires_root


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


def test_a_report_leaves_room_where_there_is_nothing_to_compare_with():
    figure = {
        "name": "compare-1m", "unit": "s", "ours": 0.5, "peer": None, "ratio": None, "cpu_ours": 1.0,
        "cpu_peer": None, "goal": "under 1 s", "met": True,
    }  # fmt: skip
    *_, row = table([json.dumps(figure)])
    assert row == "| `compare-1m` | s | 0.5 |  |  | 1.0 |  | met |"


ANSWER = "import socket; s = socket.create_server(('{address}', 4711)); s.accept()[0].sendall(b'from afar')"
ASK = "import socket; print(socket.create_connection(('{address}', 4711), 20).recv(99).decode())"


@pytest.mark.peer
@pytest.mark.parametrize("line", [None, Line(delay_ms=1, mbit=100, loss=1)])
def test_two_hosts_hear_each_other_and_are_gone_afterwards(line):
    requires_root("to make network namespaces")
    requires("ip")
    with hosts(line) as (one, other):
        answering = subprocess.Popen(one.command(sys.executable, "-c", ANSWER.format(address=one.address)))
        try:
            assert heard(other, one.address) == "from afar\n"
            assert answering.wait(20) == 0
        finally:
            answering.kill()
            answering.wait()
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert str(os.getpid()) not in listed


def heard(host, address):
    """What a host hears, once the other one answers."""
    for _ in range(200):
        words = host.command(sys.executable, "-c", ASK.format(address=address))
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        time.sleep(0.05)
    raise AssertionError(done.stderr)
