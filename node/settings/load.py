"""Reading the settings: `site.toml`, then the environment, checked once and named when wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from node.domain.errors import BadSetting, Misconfigured, NotASite
from node.settings.kinds import LOOPBACK, Kind, Raw, WrongValueError
from node.settings.sections import SECTIONS, Settings

FILE = "site.toml"
PREFIX = "KONZILIUM_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A raw value and where it was found."""

    value: object
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One setting of the table."""

    section: str
    field: Field[Any]

    @property
    def name(self) -> str:
        """As messages and documents name it: `dicom.port`."""
        return f"{self.section}.{self.field.name}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"{PREFIX}{self.section.upper()}__{self.field.name.upper()}"

    @property
    def kind(self) -> Kind:
        """What it may be."""
        kind: Kind = self.field.metadata["kind"]
        return kind

    @property
    def explanation(self) -> str:
        """What it is for."""
        return str(self.field.metadata["help"])

    def default(self, site: str) -> Raw | None:
        """Its value, as TOML writes it, where nobody gave one; None when somebody must."""
        if self.field.metadata["derive"]:
            derived: Raw = self.field.metadata["derive"][1](site)
            return derived
        return None if self.field.default is MISSING else self.kind.show(self.field.default)


def table() -> Iterator[Entry]:
    """Every setting there is, in the order of the file."""
    for section, values in SECTIONS.items():
        for field in fields(values):
            yield Entry(section=section, field=field)


def load(directory: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings of the site in `directory`.

    Raises:
        NotASite: there is no `site.toml`.
        BadSetting: a setting is unknown, missing or unreadable.
        Misconfigured: the file is not TOML or cannot be read.
    """
    directory = directory.absolute()
    given = _from_file(directory / FILE) | _from_environment(environ)
    site = str(given["site.name"].value) if "site.name" in given else ""
    values = {entry.name: _value(entry, given.get(entry.name), site, directory) for entry in table()}
    settings = assemble(directory, values)
    _check_ports(settings, given, directory / FILE)
    _check_alerts(settings, directory / FILE)
    return settings


def assemble(directory: Path, values: Mapping[str, object]) -> Settings:
    """Build the sections out of checked values by their full names."""
    sections = {
        name: section(**{field.name: values[f"{name}.{field.name}"] for field in fields(section)})
        for name, section in SECTIONS.items()
    }
    return Settings(directory=directory, **sections)


def _from_file(path: Path) -> dict[str, Given]:
    known = {entry.name for entry in table()}
    given: dict[str, Given] = {}
    for section, content in _parsed(path).items():
        if section not in SECTIONS or not isinstance(content, dict):
            raise BadSetting(section, path, f"there is no such section; there are {', '.join(SECTIONS)}")
        for key, value in content.items():
            name = f"{section}.{key}"
            if name not in known:
                raise BadSetting(name, path, f"there is no such setting; [{section}] has {_keys(section)}")
            given[name] = Given(value=value, source=str(path))
    return given


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise NotASite(path.parent) from None
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not a text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from None


def _keys(section: str) -> str:
    return ", ".join(field.name for field in fields(SECTIONS[section]))


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    entries = {entry.variable: entry for entry in table()}
    given: dict[str, Given] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        entry = entries.get(variable)
        if entry is None:
            raise BadSetting(variable, "the environment", "there is no such setting")
        try:
            given[entry.name] = Given(value=entry.kind.parse(environ[variable]), source=variable)
        except WrongValueError as wrong:
            raise BadSetting(entry.name, variable, wrong) from None
    return given


def _value(entry: Entry, given: Given | None, site: str, directory: Path) -> object:
    raw = given.value if given else entry.default(site)
    source = given.source if given else directory / FILE
    if raw is None:
        raise BadSetting(entry.name, source, f"is missing; it must be {entry.kind.allowed}")
    try:
        return entry.kind.accept(raw, directory)
    except WrongValueError as wrong:
        raise BadSetting(entry.name, source, wrong) from None


def _check_ports(settings: Settings, given: Mapping[str, Given], file: Path) -> None:
    taken: dict[int, str] = {}
    for name, port in doors(settings):
        if port in taken:
            source = given[name].source if name in given else file
            raise BadSetting(
                name, source, f"is {port}, and so is {taken[port]}; every door needs a port of its own"
            )
        taken[port] = name


def _check_alerts(settings: Settings, file: Path) -> None:
    """See that whoever is to be told can be."""
    alerts = settings.alerts
    needed = {
        "mail_from": bool(alerts.mail_host) and not alerts.mail_from,
        "mail_to": bool(alerts.mail_host) and not alerts.mail_to,
        "webhook_secret_file": bool(alerts.webhook_url) and alerts.webhook_secret_file is None,
    }
    for name in (name for name, lacks in needed.items() if lacks):
        what = "a webhook is posted to" if name.startswith("webhook") else "mail is sent"
        raise BadSetting(f"alerts.{name}", file, f"is empty; it must be given where {what}")
    clear = alerts.mail_security == "none" and alerts.mail_host not in LOOPBACK
    if clear and alerts.mail_password_file is not None:
        raise BadSetting("alerts.mail_security", file, "is none, and the password would go over the network")


def doors(settings: Settings) -> list[tuple[str, int]]:
    """The ports that the site has for itself, by the name of their setting."""
    ports = [
        ("dicom.port", settings.dicom.port),
        ("dicom.tls_port", settings.dicom.tls_port),
        ("web.port", settings.web.port),
        ("node.port", settings.node.port),
    ]
    return [(name, port) for name, port in ports if port is not None]
