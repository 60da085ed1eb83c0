"""Notices by e-mail (RFC 5321): one message each, threaded by episode."""

from __future__ import annotations

import hashlib
import os
import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from node.domain.alert import SECOND, Notice, Severity, Step
from node.domain.errors import NoticeUntold
from node.settings import AlertSettings
from node.watch.sink import headline, moment

TIMEOUT: Final = 15.0
"""Seconds that the mail server may take for one answer."""
SUBJECT: Final = 150
"""Characters of a subject."""


class MailSink:
    """Sends each notice to the addresses of the settings."""

    name = "mail"

    def __init__(self, settings: AlertSettings, *, timeout: float = TIMEOUT) -> None:
        """Mail by the settings.

        Args:
            settings: with a mail host.
            timeout: seconds that the server may take for one answer.
        """
        self.least = Severity(settings.least)
        self._settings = settings
        self._timeout = timeout

    def tell(self, notice: Notice) -> None:
        """Send it (see `Sink.tell`)."""
        message = written(notice, self._settings.mail_from, self._settings.mail_to)
        try:
            server = self._connect()
            try:
                self._log_in(server)
                server.send_message(message)
            finally:
                with suppress(OSError, smtplib.SMTPException):  # it has the message, or said why not
                    server.quit()
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise NoticeUntold(self.name, _reason(error)) from error

    def _connect(self) -> smtplib.SMTP:
        """A connection, encrypted as the settings say."""
        how = self._settings
        where = (how.mail_host, how.mail_port)
        own = os.uname().nodename
        if how.mail_security == "tls":
            return smtplib.SMTP_SSL(*where, own, timeout=self._timeout, context=self._context())
        server = smtplib.SMTP(*where, own, timeout=self._timeout)
        if how.mail_security == "starttls":
            try:
                server.starttls(context=self._context())
            except BaseException:
                server.close()
                raise
        return server

    def _log_in(self, server: smtplib.SMTP) -> None:
        how = self._settings
        if how.mail_user and how.mail_password_file:
            server.login(how.mail_user, how.mail_password_file.read_text("utf-8").strip())

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.authorities)


def written(notice: Notice, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """The message of a notice; the one that is sent again has the same Message-ID."""
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(recipients)
    message["Subject"] = _subject(notice)
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.at / SECOND, UTC))
    message["Message-ID"] = _message_id(notice, notice.id)
    if notice.step in (Step.OVER, Step.REMINDER):
        begun = _message_id(notice, notice.id.rpartition("/")[0] + f"/{Step.RAISED}")
        message["In-Reply-To"] = message["References"] = begun
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies
    message.set_content(_body(notice))
    return message


def _subject(notice: Notice) -> str:
    words = {Step.OVER: "over", Step.TEST: "test"}.get(notice.step, notice.severity.value.upper())
    first = notice.what.partition(". ")[0].rstrip(".")
    line = f"[{notice.site}] {words}: {first}"
    return line if len(line) <= SUBJECT else line[: SUBJECT - 1] + "…"


def _body(notice: Notice) -> str:
    lines = [headline(notice), ""]
    if notice.step is not Step.OVER:
        lines += ["What to do:", notice.todo, ""]
    lines += [f"Site      {notice.site}", f"Alert     {notice.key}", f"Severity  {notice.severity}"]
    lines += [f"Since     {moment(notice.since_at)}"]
    if notice.over_at:
        lines += [f"Until     {moment(notice.over_at)}"]
    return "\n".join(lines) + "\n"


def _message_id(notice: Notice, text: str) -> str:
    name = hashlib.sha256(f"{notice.site} {text}".encode()).hexdigest()[:32]
    return f"<{name}@{notice.site}.konzilium>"


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "the mail server refuses every address"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answers {error.smtp_code}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, TimeoutError):
        return "the mail server does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
