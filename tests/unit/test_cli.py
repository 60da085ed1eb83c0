"""The command line: what it does to a site, what it says, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from pydicom import dcmread
from pydicom.fileset import FileSet

from node.domain import errors
from node.domain.errors import NodeError
from node.domain.ids import AETitle
from node.domain.principal import Caller
from node.settings import load
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import MEANINGS, Exit, exit_code, size, span
from services.run.lock import hold
from tests.support import synthetic


def konzilium(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*words: object, code: Exit = Exit.FINE) -> Result:
    result = konzilium(*words)
    assert result.exit_code == code, result.output
    return result


def said(*words: object, code: Exit = Exit.FINE):
    return json.loads(done(*words, "--json", code=code).stdout)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    done("init", tmp_path / "brno", "--site", "brno")
    return tmp_path / "brno"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with four images in two series."""
    synthetic.write_study(tmp_path / "study", 4, series=2)
    return tmp_path / "study"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# init


def test_init_makes_a_site_that_others_cannot_look_into(tmp_path):
    result = done("init", tmp_path / "brno", "--site", "brno", "--ae-title", "ARCHIVE", "--dicom-port", 104)
    settings = load(tmp_path / "brno", {})
    assert (settings.site.name, settings.dicom.ae_title, settings.dicom.port) == ("brno", "ARCHIVE", 104)
    assert (tmp_path / "brno").stat().st_mode & 0o777 == 0o700
    assert settings.dicom.private_key.stat().st_mode & 0o777 == 0o600
    assert settings.store.path.is_dir()
    assert settings.catalog.path.is_file()
    assert "konzilium serve" in result.stdout


def test_the_certificate_names_the_site_and_is_good_for_825_days(site):
    certificate = x509.load_pem_x509_certificate(load(site, {}).dicom.certificate.read_bytes())
    assert "CN=BRNO" in certificate.subject.rfc4514_string()
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 825
    assert certificate.public_key().curve.name == "secp256r1"


def test_init_does_not_touch_a_folder_that_holds_files(site):
    before = tree(site)
    result = done("init", site, "--site", "praha", code=Exit.MISCONFIGURED)
    assert result.stderr == f"konzilium: {errors.AlreadyASite(site)}\n"
    assert tree(site) == before


def test_init_takes_an_empty_folder_and_a_fresh_disk(tmp_path):
    (tmp_path / "brno" / "lost+found").mkdir(parents=True)
    done("init", tmp_path / "brno", "--site", "brno")


@pytest.mark.parametrize("existed", [True, False])
def test_an_init_that_fails_leaves_nothing_behind(tmp_path, existed):
    folder = tmp_path / "brno"
    if existed:
        folder.mkdir()
    result = done("init", folder, "--site", "brno", "--web-port", 11112, code=Exit.MISCONFIGURED)
    assert "web.port" in result.stderr
    assert folder.exists() == existed
    assert not existed or not list(folder.iterdir())


@pytest.mark.parametrize("name", ["Brno", "b", "brno!", ""])
def test_a_site_name_is_checked_where_it_enters(tmp_path, name):
    done("init", tmp_path / "brno", "--site", name, code=Exit.USAGE)
    assert not (tmp_path / "brno").exists()


# status


def test_status_of_a_new_site_is_well(site):
    status = said("status", site)
    assert status["running"] is False
    assert status["instances"] == status["jobs"] == status["quarantined"] == 0
    assert status["doors"] == {"DICOM": 11112, "DICOM TLS": 2762, "nodes": 8443}
    assert status["certificate_days"] >= 824
    assert status["attention"] == []


def test_status_counts_what_was_imported(site, study):
    done("import", site, study)
    status = said("status", site)
    assert (status["patients"], status["studies"], status["series"], status["instances"]) == (1, 1, 2, 4)
    assert status["bytes"] > sum(path.stat().st_size for path in study.iterdir()) * 0.9


def test_status_says_that_a_node_runs(site):
    with hold(site):
        assert said("status", site)["running"] is True
    assert said("status", site)["running"] is False


@pytest.mark.parametrize(
    ("setting", "words"),
    [("KONZILIUM_STORE__RESERVE_MB", "disk is full")],
)
def test_what_needs_attention_is_a_line_and_an_exit_code(site, monkeypatch, setting, words):
    monkeypatch.setenv(setting, str(1024 * 1024 * 1024))
    result = done("status", site, code=Exit.ATTENTION)
    assert any(line.startswith("! ") and words in line for line in result.stdout.splitlines())


def test_every_kind_of_need_says_what_to_do(site, tmp_path, monkeypatch):
    data = synthetic.dataset()
    del data.PatientID
    (tmp_path / "nobody.dcm").write_bytes(synthetic.part10(data))
    done("import", site, tmp_path / "nobody.dcm", code=Exit.PARTLY)
    knock(site, "STRANGER")
    needs = said("status", site, code=Exit.ATTENTION)["attention"]
    assert any("quarantine list" in need for need in needs)
    assert any("device pending" in need for need in needs)


def test_a_certificate_that_ends_soon_needs_attention(site, monkeypatch):
    from node.watch import look

    for days, words in ((10, "expires in 10 days"), (-1, "has expired")):
        monkeypatch.setattr(look, "days_left", lambda *_, days=days: days)
        assert any(words in need for need in said("status", site, code=Exit.ATTENTION)["attention"])


@pytest.mark.parametrize("command", ["status", "serve", "rebuild", "conflicts"])
def test_a_folder_that_is_no_site_is_told(tmp_path, command):
    result = done(command, tmp_path, code=Exit.MISCONFIGURED)
    assert result.stderr == f"konzilium: {errors.NotASite(tmp_path)}\n"


def test_a_wrong_setting_is_told_in_one_line(site, monkeypatch):
    monkeypatch.setenv("KONZILIUM_DICOM__PORT", "many")
    result = done("status", site, code=Exit.MISCONFIGURED)
    assert "dicom.port" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# serve, as far as it gets without a process of its own


def test_a_port_in_use_is_named_before_anything_starts(site, monkeypatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("KONZILIUM_DICOM__PORT", str(port))
        result = done("serve", site, code=Exit.MISCONFIGURED)
    assert result.stderr == f"konzilium: {errors.PortTaken(port)}\n"


def test_a_second_node_on_the_same_folder_is_refused(site):
    with hold(site):
        for command in ("serve", "rebuild"):
            assert "already running" in done(command, site, code=Exit.MISCONFIGURED).stderr


def test_an_address_of_another_machine_is_refused(site, monkeypatch):
    monkeypatch.setenv("KONZILIUM_DICOM__HOST", "192.0.2.1")
    assert "dicom.host" in done("serve", site, code=Exit.MISCONFIGURED).stderr


# device


def knock(site: Path, ae_title: str, address: str = "192.0.2.7") -> None:
    caller = Caller(calling=AETitle(ae_title), called="BRNO", address=address)
    with open_site(site) as open_, pytest.raises(errors.Unauthenticated):
        open_.devices.recognise(caller, "CT Image Storage")


def test_a_device_may_do_everything_unless_it_was_added_with_less(site):
    done("device", "add", site, "CT1", "192.0.2.10", 104)
    done("device", "add", site, "VIEWER", "viewer.example.org", 11112, "--may", "query,retrieve")
    devices = {device["ae_title"]: device for device in said("device", "list", site)}
    assert devices["CT1"]["may"] == ["query", "retrieve", "store"]
    assert devices["VIEWER"]["may"] == ["query", "retrieve"]
    assert (devices["VIEWER"]["host"], devices["VIEWER"]["port"]) == ("viewer.example.org", 11112)


def test_a_device_is_changed_only_when_told_so(site):
    done("device", "add", site, "CT1", "192.0.2.10", 104)
    done("device", "add", site, "CT1", "192.0.2.11", 104, code=Exit.FAILED)
    done("device", "add", site, "CT1", "192.0.2.11", 104, "--replace")
    assert [device["host"] for device in said("device", "list", site)] == ["192.0.2.11"]


def test_a_device_is_taken_off_the_list(site):
    done("device", "add", site, "CT1", "192.0.2.10", 104)
    done("device", "remove", site, "CT1")
    assert said("device", "list", site) == []
    done("device", "remove", site, "CT1", code=Exit.FAILED)


def test_a_certificate_binds_a_device_to_tls(site):
    certificate = load(site, {}).dicom.certificate
    done("device", "add", site, "CT1", "192.0.2.10", 104, "--certificate", certificate)
    assert said("device", "list", site)[0]["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert "only" in done("device", "list", site).stdout


def test_a_file_that_holds_no_certificate_is_refused(site):
    done(
        "device", "add", site, "CT1", "192.0.2.10", 104, "--certificate", site / "site.toml", code=Exit.USAGE
    )
    assert said("device", "list", site) == []


@pytest.mark.parametrize(
    "words", [("TITLE_THAT_IS_TOO_LONG", "h", 104), ("CT1", "h", 0), ("CT1", "h", 104, "--may", "fly")]
)
def test_what_a_device_is_called_and_may_do_is_checked(site, words):
    done("device", "add", site, *words, code=Exit.USAGE)


def test_an_unknown_device_that_knocked_is_accepted_with_one_command(site):
    knock(site, "CT1")
    knock(site, "CT1")
    (pending,) = said("device", "pending", site)
    assert (pending["ae_title"], pending["address"], pending["count"]) == ("CT1", "192.0.2.7", 2)
    assert pending["asked"] == "CT Image Storage"
    assert pending["last_at"].startswith("20")
    done("device", "accept", site, "CT1", "--port", 4006, "--may", "store")
    (device,) = said("device", "list", site)
    assert (device["host"], device["port"], device["may"]) == ("192.0.2.7", 4006, ["store"])
    assert said("device", "pending", site) == []


def test_nobody_is_accepted_who_did_not_knock(site):
    done("device", "accept", site, "CT1", code=Exit.FAILED)


def test_lists_tell_people_when_they_are_empty(site):
    for words in (("device", "list"), ("device", "pending"), ("quarantine", "list"), ("conflicts",)):
        assert done(*words, site).stdout


# import


def test_an_import_may_be_repeated(site, study):
    assert said("import", site, study) == counts(kept=4)
    assert said("import", site, study) == counts(known=4)


def counts(**some: int) -> dict[str, int]:
    return {"kept": 0, "known": 0, "conflict": 0, "quarantined": 0, "refused": 0, "not_dicom": 0} | some


def test_an_import_continues_over_bad_files_and_reports_them(site, study, tmp_path):
    good = next(study.iterdir())
    (study / "cut").write_bytes(good.read_bytes()[:-100])
    (study / "README").write_text("not an image")
    data = synthetic.dataset(number=9)
    data.SOPInstanceUID = "not a uid"
    (study / "odd").write_bytes(synthetic.encoded(data))
    nobody = synthetic.dataset(number=10)
    del nobody.PatientID
    (study / "nobody").write_bytes(synthetic.part10(nobody))
    report = tmp_path / "report"
    result = done("import", site, study, "--report", report, "--json", code=Exit.PARTLY)
    assert json.loads(result.stdout) == counts(kept=4, quarantined=1, refused=2, not_dicom=1)
    told = {line["file"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert {Path(name).name: line["result"] for name, line in told.items()} == {
        "cut": "refused",
        "odd": "refused",
        "nobody": "quarantined",
    }
    assert all(line["reason"] for line in told.values())
    assert "cut" in result.stderr


def test_other_content_under_a_known_uid_is_kept_and_shown(site, study, tmp_path):
    done("import", site, study)
    changed = synthetic.dataset()
    changed.PatientComments = "another"
    (tmp_path / "changed").write_bytes(synthetic.part10(changed))
    assert said("import", site, tmp_path / "changed") == counts(conflict=1)
    (conflict,) = said("conflicts", site)["instances"]
    assert conflict["instance"] == changed.SOPInstanceUID
    assert conflict["kept"] != conflict["other"]
    assert conflict["instance"] in done("conflicts", site).stdout


def test_an_import_stops_when_the_store_is_full_and_says_so(site, study, monkeypatch):
    monkeypatch.setenv("KONZILIUM_STORE__RESERVE_MB", str(1024 * 1024 * 1024))
    result = done("import", site, study, code=Exit.LATER)
    assert "0 kept" in result.stdout
    assert "no room" in result.stderr


def test_zip_files_are_imported(site, study, tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in study.iterdir():
            archive.write(path, f"deep/{path.name}")
    assert said("import", site, tmp_path / "study.zip") == counts(kept=4)


def test_a_zip_file_damaged_inside_costs_only_what_is_damaged(site, study, tmp_path):
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for one in sorted(study.iterdir()):
            archive.write(one, one.name)
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(content)
    assert said("import", site, path, code=Exit.PARTLY) == counts(kept=3, refused=1)


# export


def test_exported_files_are_standard_files_with_the_same_data_set(site, study, tmp_path):
    done("import", site, study)
    done("export", site, "--study", synthetic.study_uid(1), "--to", tmp_path / "out")
    exported = sorted((tmp_path / "out").rglob("*.dcm"))
    assert len(exported) == 4
    for path in exported:
        data = dcmread(path)
        assert path.relative_to(tmp_path / "out").parts == (
            data.StudyInstanceUID,
            data.SeriesInstanceUID,
            f"{data.SOPInstanceUID}.dcm",
        )
        assert data == dcmread(study / path.name)


def test_an_export_may_be_repeated_and_overwrites_nothing_else(site, study, tmp_path):
    done("import", site, study)
    words = ("export", site, "--study", synthetic.study_uid(1), "--to", tmp_path / "out")
    done(*words)
    assert "4 there already" in done(*words).stdout
    other = next((tmp_path / "out").rglob("*.dcm"))
    other.write_bytes(b"mine")
    result = done(*words, code=Exit.PARTLY)
    assert other.read_bytes() == b"mine"
    assert other.name in result.stderr


def test_a_series_or_a_patient_may_be_exported(site, study, tmp_path):
    done("import", site, study)
    done("export", site, "--series", synthetic.series_uid(1, 2), "--to", tmp_path / "series")
    assert len(list((tmp_path / "series").rglob("*.dcm"))) == 2
    done("export", site, "--patient", "P0001", "--to", tmp_path / "patient")
    assert len(list((tmp_path / "patient").rglob("*.dcm"))) == 4


def test_a_medium_has_short_names_and_a_directory_that_names_them(site, study, tmp_path):
    done("import", site, study)
    done("export", site, "--study", synthetic.study_uid(1), "--to", tmp_path / "cd", "--dicomdir")
    names = [path.relative_to(tmp_path / "cd") for path in (tmp_path / "cd").rglob("*") if path.is_file()]
    assert all(len(part) <= 8 and part == part.upper() for name in names for part in name.parts)
    medium = FileSet(tmp_path / "cd" / "DICOMDIR")
    assert sorted(file.SOPInstanceUID for file in medium) == sorted(path.stem for path in study.iterdir())
    with open_site(site) as open_:
        stored = {path.read_bytes() for path in open_.settings.store.path.glob("??/*") if path.is_file()}
    assert all(Path(file.path).read_bytes() in stored for file in medium)


def test_a_medium_imports_as_what_it_was_exported_from(site, study, tmp_path):
    done("import", site, study)
    for number, options in enumerate([["--dicomdir"], ["--zip"], ["--zip", "--dicomdir"], []]):
        target, other = (
            tmp_path / f"out{number}{'.zip' if '--zip' in options else ''}",
            tmp_path / f"site{number}",
        )
        done("export", site, "--study", synthetic.study_uid(1), "--to", target, *options)
        done("init", other, "--site", "praha")
        assert said("import", other, target)["kept"] == 4
        assert digests(other) == digests(site)


def digests(site: Path) -> set[str]:
    blobs = load(site, {}).store.path
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in blobs.glob("??/*") if path.is_file()}


def test_a_medium_wants_an_empty_folder_and_a_zip_file_a_new_name(site, study, tmp_path):
    done("import", site, study)
    words = ("export", site, "--study", synthetic.study_uid(1), "--to")
    done(*words, study, "--dicomdir", code=Exit.USAGE)
    (tmp_path / "out.zip").touch()
    done(*words, tmp_path / "out.zip", "--zip", code=Exit.USAGE)


def test_an_export_proves_what_it_copies(site, study, tmp_path):
    done("import", site, study)
    blobs = [path for path in load(site, {}).store.path.glob("??/*") if path.is_file()]
    blobs[0].chmod(0o600)
    content = bytearray(blobs[0].read_bytes())
    content[-1] ^= 1
    blobs[0].write_bytes(content)
    words = ("export", site, "--study", synthetic.study_uid(1), "--to")
    result = done(*words, tmp_path / "out", code=Exit.DAMAGED)
    assert "3 written" in result.stdout
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
    assert not list((tmp_path / "out").rglob("*.part"))
    done(*words, tmp_path / "out.zip", "--zip", code=Exit.DAMAGED)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 3


def test_what_is_not_here_cannot_be_exported(site, tmp_path):
    result = done("export", site, "--study", "1.2.3", "--to", tmp_path / "out", code=Exit.FAILED)
    assert "1.2.3" in result.stderr
    assert not (tmp_path / "out").exists()
    done("export", site, "--to", tmp_path / "out", code=Exit.USAGE)


# quarantine


@pytest.fixture
def nobody(site, tmp_path) -> str:
    """The digest of an object in quarantine that names no patient."""
    data = synthetic.dataset()
    del data.PatientID
    (tmp_path / "nobody.dcm").write_bytes(synthetic.part10(data))
    done("import", site, tmp_path / "nobody.dcm", code=Exit.PARTLY)
    return said("quarantine", "list", site)[0]["digest"]


def test_an_object_in_quarantine_is_shown_with_its_reason(site, nobody):
    one = said("quarantine", "show", site, nobody[:8])
    assert one["digest"] == nobody
    assert "Patient ID" in one["reason"]
    assert nobody in done("quarantine", "show", site, nobody).stdout
    assert nobody[:12] in done("quarantine", "list", site).stdout


def test_an_object_is_released_to_the_patient_a_person_names(site, nobody):
    done("quarantine", "release", site, nobody[:8], "--patient-id", "P7")
    assert said("quarantine", "list", site) == []
    assert said("status", site)["patients"] == 1


def test_an_object_is_discarded_only_with_a_yes(site, nobody):
    done("quarantine", "discard", site, nobody, code=Exit.USAGE)
    assert len(said("quarantine", "list", site)) == 1
    done("quarantine", "discard", site, nobody, "--yes")
    assert said("quarantine", "list", site) == []


@pytest.mark.parametrize("digest", ["0" * 64, "xyz", ""])
def test_what_is_not_in_quarantine_is_unknown(site, nobody, digest):
    done("quarantine", "show", site, digest, code=Exit.FAILED)


# rebuild


def test_a_rebuilt_catalog_finds_everything_again(site, study):
    done("import", site, study)
    before = said("status", site)
    assert "rebuilt" in done("rebuild", site).stdout
    after = said("status", site)
    assert {key: after[key] for key in ("patients", "studies", "series", "instances", "bytes")} == {
        key: before[key] for key in ("patients", "studies", "series", "instances", "bytes")
    }


# every voice


def leaves(cls: type[NodeError]) -> list[type[NodeError]]:
    return [leaf for sub in cls.__subclasses__() for leaf in leaves(sub)] or [cls]


@pytest.mark.parametrize("cls", [cls for cls in leaves(NodeError) if cls.__module__ == errors.__name__])
def test_every_failure_has_an_exit_code_that_is_not_fine(cls):
    assert exit_code(cls()) not in (Exit.FINE, Exit.USAGE, Exit.INTERRUPTED)


def test_every_exit_code_is_explained():
    assert set(MEANINGS) == set(Exit)


def test_an_interrupt_is_tidy(site, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("services.cli.status.look", interrupted)
    result = done("status", site, code=Exit.INTERRUPTED)
    assert "interrupted" in result.stderr


def test_a_failure_of_the_system_is_one_line(site, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/brno")

    monkeypatch.setattr("services.cli.status.look", fails)
    assert done("status", site, code=Exit.FAILED).stderr == "konzilium: /srv/brno: Permission denied\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB")]
)
def test_sizes_are_told_in_their_unit(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 seconds"), (60, "1 minute"), (7200, "2 hours"), (90000, "1 day")]
)
def test_durations_are_told_in_their_largest_unit(seconds, text):
    assert span(seconds) == text
