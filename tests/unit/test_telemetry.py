"""Logs tell what the node did, and nothing of whom it was done for."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest

from node import telemetry
from node.domain.errors import StoreFull

log = logging.getLogger("node.somewhere")


@pytest.fixture
def lines():
    """What has been logged as JSON lines since."""
    stream = io.StringIO()
    telemetry.configure("info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    telemetry.configure("warning")


def test_a_line_says_when_who_and_what(lines):
    log.info("instance admitted", extra={"size": 7})
    (line,) = lines()
    assert list(line)[:4] == ["time", "level", "logger", "message"]
    assert (line["level"], line["logger"], line["message"]) == ("info", "node.somewhere", "instance admitted")
    assert line["size"] == 7
    assert line["time"].endswith("+00:00")


def test_lines_carry_what_is_bound_where_they_are_logged(lines):
    with telemetry.bound(association="CT1/7"), telemetry.bound(command="C-STORE"):
        log.info("inside")
    log.info("outside")
    inside, outside = lines()
    assert (inside["association"], inside["command"]) == ("CT1/7", "C-STORE")
    assert "association" not in outside


@pytest.mark.parametrize(
    "name",
    [
        "patient",
        "patient_name",
        "PatientID",
        "birth_date",
        "accession_number",
        "referring_physician",
        "dataset",
    ],
)
def test_an_extra_named_like_a_patient_is_withheld_and_its_name_told(lines, name):
    log.info("instance admitted", extra={name: "NOVAK^JAN", "size": 7})
    (line,) = lines()
    assert line["withheld"] == [name]
    assert line["size"] == 7
    assert "NOVAK" not in json.dumps(line)


def test_what_is_bound_is_guarded_too(lines):
    with telemetry.bound(patient="NOVAK^JAN"):
        log.info("query")
    assert "NOVAK" not in json.dumps(lines())


def test_an_unexpected_exception_is_told_by_class_and_place_not_by_its_text(lines):
    try:
        raise ValueError("NOVAK^JAN is not a date")
    except ValueError:
        log.exception("instance refused")
    (line,) = lines()
    assert line["exception"]["class"] == "ValueError"
    assert "test_telemetry.py" in line["exception"]["frames"][0]
    assert "NOVAK" not in json.dumps(line)


def test_an_expected_failure_is_told_in_its_own_words(lines):
    try:
        raise StoreFull("12 MiB are free")
    except StoreFull:
        log.exception("instance refused")
    assert "12 MiB are free" in lines()[0]["exception"]["text"]


@pytest.mark.parametrize("library", ["pydicom", "pydicom.dataset", "pynetdicom.acse"])
def test_libraries_that_quote_data_sets_are_told_by_their_place(lines, library):
    logging.getLogger(library).error("cannot decode NOVAK^JAN %s", "19700101")
    logging.getLogger(library).info("identifier: NOVAK^JAN")
    (line,) = lines()
    assert line["message"] == "a library reported a problem"
    assert "test_telemetry.py" in line["place"]
    assert "NOVAK" not in json.dumps(line)


def test_warnings_of_libraries_are_not_logged(lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.getLogger("py.warnings").warning("Invalid value NOVAK^JAN")
    assert lines() == []


def test_lines_below_the_level_are_not_written(lines):
    log.debug("detail")
    assert lines() == []


def test_a_terminal_gets_lines_for_people():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    telemetry.configure("info", stream=stream)
    log.info("instance admitted", extra={"size": 7})
    telemetry.configure("warning")
    assert stream.getvalue().endswith("info    instance admitted size=7\n")


def test_a_file_gets_json_lines(tmp_path):
    telemetry.configure("info", file=tmp_path / "node.log")
    log.info("instance admitted")
    telemetry.configure("warning")
    assert json.loads((tmp_path / "node.log").read_text())["message"] == "instance admitted"
