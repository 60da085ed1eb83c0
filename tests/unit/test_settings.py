"""Settings are read once, checked, and named when they are wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.errors import BadSetting, Misconfigured, NotASite
from node.domain.ids import AETitle
from node.settings import FILE, Settings, load
from node.settings.load import doors, table
from node.settings.text import EXAMPLE, literal, toml


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the files that the default settings name."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "site.crt").write_text("certificate")
    (tmp_path / "keys" / "site.key").write_text("key")
    (tmp_path / "keys" / "site.key").chmod(0o600)
    write(tmp_path)
    return tmp_path


def write(site: Path, text: str = "") -> None:
    (site / FILE).write_text(text if "[site]" in text else '[site]\nname = "brno"\n' + text, "utf-8")


def read(site: Path, **environ: str) -> Settings:
    return load(site, environ)


def wrong(site: Path, **environ: str) -> str:
    with pytest.raises(BadSetting) as caught:
        read(site, **environ)
    return str(caught.value)


def test_a_name_is_all_that_a_site_must_give(site):
    settings = read(site)
    assert settings.site.name == "brno"
    assert settings.dicom.ae_title == "BRNO"
    assert (settings.dicom.port, settings.dicom.tls_port) == (11112, 2762)
    assert settings.store.reserve_mb == 1024


def test_relative_paths_start_from_the_site_folder(site):
    settings = read(site)
    assert settings.store.path == site / "blobs"
    assert settings.catalog.path == site / "catalog.db"
    assert settings.dicom.private_key == site / "keys" / "site.key"


def test_absolute_paths_stay_as_they_are(site):
    write(site, '[store]\npath = "/srv/blobs"\n')
    assert read(site).store.path == Path("/srv/blobs")


def test_the_environment_goes_before_the_file(site):
    write(site, "[dicom]\nport = 104\n")
    assert read(site).dicom.port == 104
    assert read(site, KONZILIUM_DICOM__PORT="11113").dicom.port == 11113


def test_checked_settings_have_the_type_that_says_so(site):
    settings = read(site)
    assert isinstance(settings.dicom.ae_title, AETitle)
    assert isinstance(settings.dicom.idle_timeout, float)


def test_zero_shuts_the_tls_door(site):
    write(site, "[dicom]\ntls_port = 0\n")
    assert read(site).dicom.tls_port is None


def test_a_missing_name_is_named(site):
    (site / FILE).write_text("[dicom]\nport = 104\n")
    said = wrong(site)
    assert "site.name" in said
    assert "is missing" in said
    assert FILE in said


def test_an_unknown_setting_is_named_with_those_that_exist(site):
    write(site, "[dicom]\nprot = 104\n")
    said = wrong(site)
    assert "dicom.prot" in said
    assert "port" in said


def test_an_unknown_section_is_named(site):
    write(site, "[dcm]\nport = 104\n")
    assert "dcm" in wrong(site)


def test_a_setting_outside_of_a_section_is_named(site):
    (site / FILE).write_text('name = "brno"\n')
    assert "name" in wrong(site)


def test_an_unknown_variable_is_named(site):
    said = wrong(site, KONZILIUM_DICOM_PORT="104")
    assert "KONZILIUM_DICOM_PORT" in said
    assert "environment" in said


@pytest.mark.parametrize(
    "line",
    [
        "port = 0",
        "port = 65536",
        "port = '11112'",
        "port = true",
        "port = 11112.5",
        "max_associations = 0",
        "idle_timeout = -1",
        "idle_timeout = nan",
        "idle_timeout = 'long'",
        "ae_title = ''",
        "ae_title = 'A TITLE THAT IS TOO LONG'",
        "host = ' '",
        "certificate = 'keys/none.crt'",
        "private_key = ''",
    ],
)
def test_a_wrong_value_is_named_with_its_setting_and_file(site, line):
    write(site, f"[dicom]\n{line}\n")
    said = wrong(site)
    assert f"dicom.{line.partition(' ')[0]} in {site / FILE}" in said


def test_a_wrong_variable_is_named(site):
    said = wrong(site, KONZILIUM_DICOM__PORT="many")
    assert "dicom.port in KONZILIUM_DICOM__PORT" in said


def test_a_key_that_everybody_may_read_is_refused(site):
    (site / "keys" / "site.key").chmod(0o644)
    assert "chmod o-r" in wrong(site)


def test_two_doors_cannot_have_one_port(site):
    write(site, "[web]\nport = 11112\n")
    said = wrong(site)
    assert "web.port" in said
    assert "dicom.port" in said


def test_a_folder_without_settings_is_not_a_site(tmp_path):
    for folder in (tmp_path, tmp_path / "none", tmp_path / "none" / "none"):
        with pytest.raises(NotASite):
            load(folder, {})


@pytest.mark.parametrize("content", [b"[site", b"\xff\xfe", b"name = "])
def test_a_file_that_is_not_toml_is_named(site, content):
    (site / FILE).write_bytes(content)
    with pytest.raises(Misconfigured, match=FILE):
        read(site)


def test_the_example_says_what_the_defaults_are(site):
    (site / FILE).write_text(toml(EXAMPLE), "utf-8")
    commented = read(site)
    plain = toml(EXAMPLE).replace("\n#", "\n").splitlines()
    active = [line for line in plain if "=" in line or line.startswith("[")]
    write(site, "\n".join(line for line in active if not line.startswith(" ")))
    assert read(site) == commented


def test_every_setting_is_explained(site):
    for entry in table():
        assert entry.explanation.endswith("."), entry.name
        assert entry.kind.allowed, entry.name


def test_every_door_is_checked_for_clashes(site):
    settings = read(site)
    ports = {entry.name for entry in table() if entry.field.name.endswith("port")} - {
        "alerts.mail_port", "audit.syslog_port", "login.support",
    }  # fmt: skip
    assert {name for name, _ in doors(settings)} == ports


@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_literal_reads_back_as_it_was(value):
    if isinstance(value, str) and any(
        ord(letter) == 0x7F or 0xD800 <= ord(letter) < 0xE000 for letter in value
    ):
        return  # a JSON string may hold what a TOML one must escape
    assert tomllib.loads(f"value = {literal(value)}")["value"] == value
