"""The settings of alerts: from when on something is one, and who is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from node.settings.kinds import (
    days,
    file_to_read,
    hook_address,
    hours,
    mail_addresses,
    minutes,
    one_of,
    optional_text,
    seconds,
    setting,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """What is noticed by itself, and who is told. Without a mail server or webhook, the log alone is."""

    least: str = field(
        default="warning",
        metadata=setting(
            one_of("info", "warning", "critical"),
            "The least severity that is mailed and posted; the log and `konzilium alerts` have all.",
        ),
    )
    disk_days: float = field(
        default=14.0,
        metadata=setting(
            days(1, 365), "Days before the disk is full, at the pace of the last week, that a warning comes."
        ),
    )
    copies_hours: float = field(
        default=24.0,
        metadata=setting(hours(0.1, 8760), "Hours that a copy may be owed by another site."),
    )
    silent_minutes: float = field(
        default=60.0,
        metadata=setting(minutes(1, 525600), "Minutes that another site may be silent, heartbeats included."),
    )
    skew_seconds: float = field(
        default=30.0,
        metadata=setting(
            seconds(1, 3600),
            "Seconds by which the clocks of this site and another one may differ; what sites tell each other "
            "is refused beyond a minute.",
        ),
    )
    certificate_days: int = field(
        default=60,
        metadata=setting(whole(8, 800, "days"), "Days before the end of a certificate that a warning comes."),
    )
    modality_hours: float = field(
        default=18.0,
        metadata=setting(
            hours(1, 1000),
            "Hours in which a device usually sends, and has not, before it counts as silent for longer than "
            "usual; nights and weekends on which it never sends do not count. 18 is two days of nine hours.",
        ),
    )
    mail_host: str = field(
        default="", metadata=setting(optional_text("a host name or address"), "The mail server to send by.")
    )
    mail_port: int = field(default=587, metadata=setting(whole(1, 65535), "The port of the mail server."))
    mail_security: str = field(
        default="starttls",
        metadata=setting(
            one_of("starttls", "tls", "none"),
            "How the way to the mail server is encrypted; a password is never sent without, except to this "
            "machine.",
        ),
    )
    mail_user: str = field(
        default="", metadata=setting(optional_text("a user name"), "The user name at the mail server.")
    )
    mail_password_file: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True, secret=True), "The file with the password of that user."
        ),
    )
    mail_from: str = field(
        default="", metadata=setting(mail_addresses(several=False), "The address that mails come from.")
    )
    mail_to: tuple[str, ...] = field(
        default=(), metadata=setting(mail_addresses(several=True), "The addresses that mails go to.")
    )
    webhook_url: str = field(
        default="",
        metadata=setting(hook_address(), "Where each notice is posted as JSON; redirects are not followed."),
    )
    webhook_secret_file: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True, secret=True),
            "The file with the secret by which posts are signed (HMAC-SHA256, header "
            "X-Konzilium-Signature); needed for a webhook.",
        ),
    )
    authorities: Path | None = field(
        default=None,
        metadata=setting(
            file_to_read(optional=True),
            "Certificate authorities (PEM) to know the mail server and the webhook by; empty is those of "
            "this machine.",
        ),
    )
