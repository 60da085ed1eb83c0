"""The settings of a site, section by section: the one table that checks, explains and documents them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from node.domain.ids import AETitle, SiteId
from node.settings.alerting import AlertSettings
from node.settings.kinds import (
    day_hours,
    days,
    file_to_read,
    hours,
    identifier,
    minutes,
    one_of,
    optional_identifier,
    optional_port,
    optional_text,
    place,
    seconds,
    setting,
    switch,
    text,
    web_address,
    whole,
)
from node.settings.people import AuditSettings, LoginSettings, WebSettings


def federation_title_of(site: str) -> str:
    """The AE title by which devices reach the federation through a site, unless it chose another."""
    return f"{site.upper()[:12].rstrip('-')}-FED"


def ae_title_of(site: str) -> str:
    """The AE title that a site has unless it chose another: its name in capitals."""
    return site.upper()[:16].rstrip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """Who this site is."""

    name: SiteId = field(
        metadata=setting(
            identifier(SiteId),
            "The name of the site in the federation. It is part of every record; do not change it.",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomSettings:
    """The DICOM face: where modalities, workstations and archives associate."""

    ae_title: AETitle = field(
        metadata=setting(
            identifier(AETitle),
            "The AE title by which devices call this node.",
            derive=("the site's name in capitals", ae_title_of),
        )
    )
    federation_ae_title: AETitle | None = field(
        default=None,
        metadata=setting(
            optional_identifier(AETitle),
            "The AE title by which devices ask all sites at once: queries that call it are answered by the "
            "federation, and retrievals look for more than what is here. Empty is no such title; the same "
            "as dicom.ae_title makes every query one of the federation.",
            derive=("the site's name in capitals, up to 12 characters, and -FED", federation_title_of),
        ),
    )
    federation_timeout: float = field(
        default=5.0,
        metadata=setting(
            seconds(0.1, 60), "Seconds that a query or retrieval waits for other sites to answer."
        ),
    )
    commitment: str = field(
        default="here",
        metadata=setting(
            one_of("here", "copies"),
            "When Storage Commitment is reported: as soon as the instances are safe here, or only when the "
            "copies that the rules want are verified at their sites.",
        ),
    )
    host: str = field(
        default="0.0.0.0",  # noqa: S104
        metadata=setting(
            text("an address or host name of this machine"),
            "The address of this machine on which both DICOM doors listen; 0.0.0.0 is all of them.",
        ),
    )
    port: int = field(default=11112, metadata=setting(whole(1, 65535), "The DICOM port without encryption."))
    tls_port: int | None = field(
        default=2762,
        metadata=setting(
            optional_port(), "The DICOM port with mutual TLS (BCP 195); 0 keeps that door shut."
        ),
    )
    certificate: Path = field(
        default=Path("keys/site.crt"),
        metadata=setting(file_to_read(), "The node's certificate and what it is signed by (PEM)."),
    )
    private_key: Path = field(
        default=Path("keys/site.key"),
        metadata=setting(file_to_read(secret=True), "The private key of the certificate (PEM)."),
    )
    device_ca: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True),
            "Certificate authorities that sign the certificates of devices (PEM); "
            "certificates given with `konzilium device add` are trusted without it.",
        ),
    )
    max_associations: int = field(
        default=64,
        metadata=setting(
            whole(1, 4096),
            "Associations at the same time, all devices together; one more is rejected for now.",
        ),
    )
    max_associations_per_device: int = field(
        default=16, metadata=setting(whole(1, 4096), "Associations at the same time from one device.")
    )
    max_pdu: int = field(
        default=131072,
        metadata=setting(
            whole(4096, 16 * 1024 * 1024, "bytes"), "The longest protocol data unit the node asks to be sent."
        ),
    )
    idle_timeout: float = field(
        default=60.0,
        metadata=setting(
            seconds(0.1, 86400), "Seconds after which an association that says nothing is aborted."
        ),
    )
    read_timeout: float = field(
        default=30.0,
        metadata=setting(seconds(0.1, 86400), "Seconds that a sender may pause in the middle of a message."),
    )
    acse_timeout: float = field(
        default=30.0,
        metadata=setting(
            seconds(0.1, 3600), "Seconds that the opening and closing of an association may take."
        ),
    )
    max_identifier: int = field(
        default=1024 * 1024,
        metadata=setting(
            whole(4096, 256 * 1024 * 1024, "bytes"), "The longest query or retrieval identifier."
        ),
    )
    max_command: int = field(
        default=64 * 1024, metadata=setting(whole(1024, 1024 * 1024, "bytes"), "The longest command set.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """The face for other nodes: where they call this one, by HTTPS with certificates on both sides."""

    host: str = field(
        default="0.0.0.0",  # noqa: S104
        metadata=setting(
            text("an address or host name of this machine"),
            "The address of this machine on which the door for other nodes listens; 0.0.0.0 is all of them.",
        ),
    )
    port: int = field(
        default=8443, metadata=setting(whole(1, 65535), "The port on which other nodes call this one.")
    )
    url: str = field(
        default="",
        metadata=setting(
            web_address(),
            "Where other nodes call this one, as they see it, for example https://pacs.brno.example:8443; "
            "empty is the name of this machine with the port above. With none, this site calls the others "
            "and nobody calls it.",
        ),
    )

    def public_url(self, machine: str) -> str | None:
        """The address that members are told; None where nobody can call.

        Args:
            machine: the name of this machine, for a site that did not choose an address.
        """
        if self.url == "none":
            return None
        return self.url or f"https://{machine}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """How this site deals with the other sites of the federation."""

    share_with_new_members: bool = field(
        default=False,
        metadata=setting(
            switch(),
            "Whether studies go to and come from a site that another member has introduced without anybody "
            "here saying so. With false, nothing does until `konzilium consent`; sites that this one has "
            "invited, or that have invited it, exchange as it was agreed then.",
        ),
    )
    scopes: str = field(
        default="",
        metadata=setting(
            optional_text("domains with commas between them"),
            "The domains for whose people this site speaks to others, for example fnbrno.example: the part "
            "behind the @ of their names. The metadata of this site tell them to the members.",
        ),
    )
    invitation_hours: float = field(
        default=24.0,
        metadata=setting(hours(0.1, 720), "Hours for which an invitation can be used."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationSettings:
    """How couriers carry studies between this site and its members."""

    streams: int = field(
        default=4,
        metadata=setting(whole(1, 64), "Packs that are fetched from one site at the same time."),
    )
    pack_mb: int = field(
        default=16,
        metadata=setting(whole(1, 1024, "MiB"), "MiB of objects in one pack."),
    )
    rate_mbit: int = field(
        default=0,
        metadata=setting(
            whole(0, 1_000_000, "Mbit/s"),
            "The most that the couriers of this site take of the line, in Mbit/s, all sites together; 0 is "
            "no cap. What other sites fetch here is capped by their own setting.",
        ),
    )
    hours: str = field(
        default="",
        metadata=setting(
            day_hours(),
            "The hours of the day, in the time of this machine, in which objects are fetched that nobody "
            "waits for, for example 18:00-06:00; empty is always. Facts and what somebody asks for travel "
            "at any time.",
        ),
    )
    heartbeat: float = field(
        default=15.0,
        metadata=setting(
            seconds(0.5, 3600), "Seconds after which another site is called although there is no news."
        ),
    )
    cache_days: float = field(
        default=7.0,
        metadata=setting(
            days(0, 3650),
            "Days for which a communication site keeps what it has passed on; then it gives its copy up, if "
            "every copy that the rules want is verified at its site.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the bytes are."""

    path: Path = field(
        default=Path("blobs"),
        metadata=setting(place(), "The folder of the archived objects; it must be on a local disk."),
    )
    reserve_mb: int = field(
        default=1024,
        metadata=setting(
            whole(0, 1024 * 1024 * 1024, "MiB"),
            "Space in MiB that the node leaves free: with less, it refuses to store (status A700).",
        ),
    )
    quarantine_limit_mb: int = field(
        default=2048,
        metadata=setting(
            whole(1, 1024 * 1024 * 1024, "MiB"),
            "MiB that objects without a patient or study may take up until somebody looks at them.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """How this site looks after its copies: what it reads back, and what it mends by itself."""

    verify_reads: bool = field(
        default=True,
        metadata=setting(
            switch(),
            "Whether the bytes of an instance are compared with their digest before they are given out, "
            "unless that was done within five minutes; a damaged copy is then replaced from another site.",
        ),
    )
    repair: bool = field(
        default=True,
        metadata=setting(
            switch(),
            "Whether damage is mended from other sites without anybody asking, as long as it is not much.",
        ),
    )
    scrub_days: float = field(
        default=30.0,
        metadata=setting(
            days(0.01, 3650), "Days within which every copy is read back from the disk and compared."
        ),
    )
    scrub_mb: int = field(
        default=10,
        metadata=setting(
            whole(0, 100_000, "MB/s"),
            "The most that reading back takes of the disk, in MB a second; 0 reads nothing back by itself.",
        ),
    )
    look_hours: float = field(
        default=24.0,
        metadata=setting(
            hours(0.01, 720), "Hours between two looks at whether every copy is there, in its size."
        ),
    )
    overdue_minutes: float = field(
        default=60.0,
        metadata=setting(
            minutes(0.1, 100_000),
            "Minutes after which a copy that another site owes is called missing there.",
        ),
    )
    brake_percent: int = field(
        default=20,
        metadata=setting(
            whole(1, 100, "%"),
            "Where more than this share of the copies is found damaged, or given up, within a day, nothing "
            "is mended or given up any more until a person has looked (`konzilium brake`).",
        ),
    )
    brake_least: int = field(
        default=20,
        metadata=setting(whole(0, 1_000_000), "So few copies never make the brake trip."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSettings:
    """Where the catalog is."""

    path: Path = field(
        default=Path("catalog.db"),
        metadata=setting(place(), "The catalog's database file; it must be on a local disk."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What the node tells about its work: JSON lines, without any attribute of a patient."""

    level: str = field(
        default="info",
        metadata=setting(
            one_of("debug", "info", "warning", "error"), "The least important kind of line to write."
        ),
    )
    file: Path | None = field(
        default=None,
        metadata=setting(
            place(optional=True), "A file to append the lines to; empty writes them to standard error."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a site, read once."""

    directory: Path
    site: SiteSettings
    dicom: DicomSettings
    web: WebSettings
    node: NodeSettings
    federation: FederationSettings
    replication: ReplicationSettings
    store: StoreSettings
    catalog: CatalogSettings
    recovery: RecoverySettings
    log: LogSettings
    alerts: AlertSettings
    login: LoginSettings
    audit: AuditSettings


SECTIONS: dict[str, type] = {
    "site": SiteSettings,
    "dicom": DicomSettings,
    "web": WebSettings,
    "node": NodeSettings,
    "federation": FederationSettings,
    "replication": ReplicationSettings,
    "store": StoreSettings,
    "catalog": CatalogSettings,
    "recovery": RecoverySettings,
    "log": LogSettings,
    "alerts": AlertSettings,
    "login": LoginSettings,
    "audit": AuditSettings,
}
"""The sections of `site.toml`, in their order there."""
