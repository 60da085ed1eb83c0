"""The settings for people: the web face, how they log in, and where the audit record goes besides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from node.settings.kinds import (
    file_to_read,
    hours,
    minutes,
    one_of,
    optional_port,
    optional_text,
    setting,
    switch,
    text,
    web_address,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The web face: the portal, where people log in with the account of their institution."""

    host: str = field(
        default="0.0.0.0",  # noqa: S104
        metadata=setting(
            text("an address or host name of this machine"),
            "The address of this machine on which the portal listens; 0.0.0.0 is all of them.",
        ),
    )
    port: int | None = field(
        default=8444,
        metadata=setting(optional_port(), "The port for browsers, by HTTPS; 0 keeps that door shut."),
    )
    url: str = field(
        default="",
        metadata=setting(
            web_address(),
            "Where people reach the portal, as their browsers see it, for example "
            "https://images.brno.example; empty is the name of this machine with the port above. It is part "
            "of what identity providers know of this site: do not change it without telling them.",
        ),
    )
    certificate: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True),
            "The certificate of the portal and what it is signed by (PEM). Without one the node makes its "
            "own, which browsers warn about.",
        ),
    )
    private_key: Path | None = field(
        default=None,
        metadata=setting(file_to_read(secret=True, optional=True), "The private key of that certificate."),
    )
    person_ca: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True),
            "Certificate authorities that sign the certificates of persons (PEM): with them, people may log "
            "in with a certificate, at the portal and at devices. Without, nobody is asked for one.",
        ),
    )
    idle_minutes: float = field(
        default=30.0,
        metadata=setting(minutes(1, 1440), "Minutes after which a session in which nothing is done ends."),
    )
    session_hours: float = field(
        default=10.0, metadata=setting(hours(0.1, 72), "Hours after which a session ends in any case.")
    )
    language: str = field(
        default="en",
        metadata=setting(
            one_of("en", "cs"), "The language of the portal for browsers that prefer none that it speaks."
        ),
    )

    def public_url(self, machine: str) -> str:
        """Where browsers find the portal.

        Args:
            machine: the name of this machine, for a site that did not choose an address.
        """
        return self.url or f"https://{machine}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """How people log in. Identity providers are added with `konzilium idp add`."""

    organization: str = field(
        default="",
        metadata=setting(
            optional_text("the name of the institution"),
            "What people call the institution that runs this site; the name of the site, if empty.",
        ),
    )
    support: str = field(
        default="",
        metadata=setting(
            optional_text("a mail address, a telephone number or a sentence"),
            "Whom people are told to ask when they cannot get in.",
        ),
    )
    mfa: bool = field(
        default=False,
        metadata=setting(
            switch(),
            "Whether every login has to prove a second factor (REFEDS MFA); the policy may ask for it by "
            "itself, for certain studies.",
        ),
    )
    local: bool = field(
        default=False,
        metadata=setting(
            switch(),
            "Whether local accounts may log in, for people without an institution. The sealed account of the "
            "administrator may always, and every use of it raises an alert.",
        ),
    )
    metadata_hours: float = field(
        default=1.0,
        metadata=setting(
            hours(0.05, 24),
            "Hours after which the metadata of identity providers are fetched again: so long, at most, what "
            "was withdrawn there is believed here, while they can be reached.",
        ),
    )
    tokens: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True),
            "A TOML file with those whose tokens (JWT) devices may show for their users; docs/IDENTITY.md "
            "has its form. Empty is none.",
        ),
    )
    plain: bool = field(
        default=False,
        metadata=setting(
            switch(),
            "Whether devices may show passwords, tokens and assertions of persons at the DICOM port without "
            "TLS, where everybody on the way can read them.",
        ),
    )
    demonstration: bool = field(
        default=False,
        metadata=setting(
            switch(),
            "Whether this is a demonstration, in which demonstration identity providers are believed. Such a "
            "site listens on this machine alone and says on every page that it is none for patients.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Where the audit record goes besides this site: to members, and to a repository of audit messages."""

    syslog_host: str = field(
        default="",
        metadata=setting(
            optional_text("the name of a host"),
            "The repository that gets every audit message by syslog over TLS (RFC 5425); empty is none. It "
            "is shown the certificate of this node (keys/node.crt), if it asks for one.",
        ),
    )
    syslog_port: int = field(default=6514, metadata=setting(whole(1, 65535), "The port of the repository."))
    syslog_ca: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True),
            "Certificate authorities that the certificate of the repository is signed by (PEM); those of "
            "this machine, if empty.",
        ),
    )
    heads_minutes: float = field(
        default=5.0,
        metadata=setting(
            minutes(0.1, 60),
            "Minutes after which the signed end of the audit record is given to every member again.",
        ),
    )

    @property
    def repository(self) -> str:
        """How the repository is called here: its host and port; empty where there is none."""
        return f"{self.syslog_host}:{self.syslog_port}" if self.syslog_host else ""
