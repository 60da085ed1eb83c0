"""Notices by log, mail and webhook: what they say, how they are secured, and when they count as not sent."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.alert import SECOND, Notice, Severity, Step
from node.domain.errors import NoticeUntold
from node.domain.ids import SiteId
from node.settings import AlertSettings
from node.watch.mail import MailSink
from node.watch.sink import LogSink
from node.watch.webhook import WebhookSink, signature
from tests.support import notices
from tests.support.certificates import identity
from tests.support.notices import Hook, MailServer

T0 = 1_700_000_000 * SECOND
RAISED = Notice(
    id="disk-full:store/1/raised",
    step=Step.RAISED,
    site=SiteId("brno"),
    key="disk-full:store",
    severity=Severity.CRITICAL,
    what="The disk is full (store): 1 MiB free. Nothing can be stored.",
    todo="Make room on it.",
    since_at=T0,
    at=T0 + 5 * SECOND,
)
OVER = replace(
    RAISED,
    id="disk-full:store/1/over",
    step=Step.OVER,
    over_at=T0 + 7200 * SECOND,
    at=T0 + 7500 * SECOND,
)
REMINDER = replace(RAISED, id="disk-full:store/1/reminder-1", step=Step.REMINDER, at=T0 + 86400 * SECOND)


# log


@pytest.mark.parametrize(
    ("notice", "level", "words"),
    [
        (RAISED, logging.WARNING, RAISED.what),
        (replace(RAISED, severity=Severity.INFO), logging.INFO, RAISED.what),
        (OVER, logging.INFO, "Over after 2 hours: The disk is full"),
        (REMINDER, logging.WARNING, "Still, after 1 day: The disk is full"),
    ],
)
def test_the_log_has_a_line_for_each_notice(caplog, notice, level, words):
    with caplog.at_level(logging.INFO):
        LogSink().tell(notice)
    record = caplog.records[-1]
    assert record.levelno == level
    assert record.getMessage().startswith(words)
    assert (record.alert, record.severity) == (notice.key, notice.severity)


# mail


@pytest.fixture
def server() -> Iterator[MailServer]:
    with notices.mail_server() as running:
        yield running


def mail(server: MailServer, **more) -> MailSink:
    given = {
        "mail_host": "127.0.0.1",
        "mail_port": server.port,
        "mail_security": "none",
        "mail_from": "pacs@brno.example",
        "mail_to": ("technician@brno.example", "head@brno.example"),
    }
    return MailSink(AlertSettings(**{**given, **more}), timeout=5.0)


def test_a_mail_says_what_it_is_and_what_to_do(server):
    mail(server).tell(RAISED)
    message = server.messages[0]
    assert message["Subject"] == "[brno] CRITICAL: The disk is full (store): 1 MiB free"
    assert message["Auto-Submitted"] == "auto-generated"
    body = message.get_content().replace("\r\n", "\n")
    assert RAISED.what in body
    assert "What to do:\nMake room on it." in body
    assert "2023-11-14T22:13:20+00:00" in body
    assert len(server.envelopes[0][1]) == 2


def test_the_end_is_threaded_to_the_beginning_and_says_how_long_it_lasted(server):
    sink = mail(server)
    sink.tell(RAISED)
    sink.tell(REMINDER)
    sink.tell(OVER)
    begun, still, over = server.messages
    assert over["In-Reply-To"] == still["In-Reply-To"] == begun["Message-ID"]
    assert over["Subject"].startswith("[brno] over: ")
    assert "Over after 2 hours" in over.get_content()
    assert "What to do" not in over.get_content()


def test_a_mail_that_is_sent_again_is_the_same_message(server):
    sink = mail(server)
    sink.tell(RAISED)
    sink.tell(RAISED)
    first, again = server.messages
    assert first["Message-ID"] == again["Message-ID"]


def test_the_subject_is_one_line_of_a_fit_length(server):
    mail(server).tell(replace(RAISED, what="x" * 400 + "."))
    assert len(server.messages[0]["Subject"]) <= 150


@pytest.mark.parametrize("answer", ["451 later", "550 never"])
def test_a_mail_that_is_refused_is_not_sent(server, answer):
    server.refuses = answer
    with pytest.raises(NoticeUntold, match=f"answers {answer[:3]}"):
        mail(server).tell(RAISED)
    assert server.messages == []


def test_a_mail_server_that_is_not_there_is_named_as_such():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sink = MailSink(
            AlertSettings(
                mail_host="127.0.0.1",
                mail_port=taken.getsockname()[1],
                mail_from="a@b",
                mail_to=("c@d",),
                mail_security="none",
            )
        )
        with pytest.raises(NoticeUntold, match="Connection refused"):
            sink.tell(RAISED)


def test_with_starttls_the_password_goes_over_the_encrypted_line(tmp_path):
    who = identity(tmp_path, "localhost")
    (tmp_path / "password").write_text("secret\n")
    with notices.mail_server(who) as server:
        sink = mail(
            server,
            mail_host="localhost",
            mail_security="starttls",
            mail_user="pacs",
            mail_password_file=tmp_path / "password",
            authorities=who.certificate,
        )
        sink.tell(RAISED)
    assert server.logins == [("pacs", "secret")]
    assert len(server.messages) == 1


def test_a_mail_server_with_another_certificate_gets_nothing(tmp_path):
    who, other = identity(tmp_path, "localhost"), identity(tmp_path, "other")
    with notices.mail_server(who) as server:
        sink = mail(server, mail_host="localhost", mail_security="starttls", authorities=other.certificate)
        with pytest.raises(NoticeUntold, match="TLS failed"):
            sink.tell(RAISED)
    assert server.messages == []


def test_a_mail_server_without_encryption_gets_nothing_where_that_is_asked_for(server):
    with pytest.raises(NoticeUntold):
        mail(server, mail_security="starttls").tell(RAISED)
    assert server.messages == []


# webhook


@pytest.fixture
def hook() -> Iterator[Hook]:
    with notices.hook() as running:
        yield running


def webhook(hook: Hook, tmp_path: Path, **more) -> WebhookSink:
    secret = tmp_path / "secret"
    secret.write_text("shared\n")
    given = {"webhook_url": hook.url, "webhook_secret_file": secret}
    return WebhookSink(AlertSettings(**{**given, **more}), clock=lambda: T0, timeout=5.0)


def test_a_post_is_json_signed_over_its_time_and_body(hook, tmp_path):
    webhook(hook, tmp_path).tell(OVER)
    path, headers, body = hook.posts[0]
    assert path == "/hook?from=brno"
    assert headers["X-Konzilium-Timestamp"] == "1700000000"
    assert headers["X-Konzilium-Delivery"] == OVER.id
    assert headers["X-Konzilium-Signature"] == f"sha256={signature(b'shared', '1700000000', body)}"
    assert json.loads(body) == {
        "id": OVER.id,
        "step": "over",
        "site": "brno",
        "alert": "disk-full:store",
        "severity": "critical",
        "what": OVER.what,
        "do": OVER.todo,
        "since": "2023-11-14T22:13:20+00:00",
        "over": "2023-11-15T00:13:20+00:00",
        "at": "2023-11-15T00:18:20+00:00",
    }


def test_the_signature_is_the_hmac_that_others_compute():
    """`printf '1.x' | openssl dgst -sha256 -hmac k`."""
    assert signature(b"k", "1", b"x") == "976cb87e4f568d1c0f03f32859e90af8597cf00b978ba37c229c97d3a15b8449"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_a_post_counts_only_if_the_receiver_says_so(hook, tmp_path, status):
    hook.answers = [(status, {"Location": f"http://127.0.0.1:{hook.port}/other"})]
    with pytest.raises(NoticeUntold, match=str(status)):
        webhook(hook, tmp_path).tell(RAISED)
    assert len(hook.posts) == 1


def test_without_a_secret_nothing_is_posted(hook, tmp_path):
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(NoticeUntold, match="secret is empty"):
        webhook(hook, tmp_path, webhook_secret_file=tmp_path / "empty").tell(RAISED)
    assert hook.posts == []


def test_a_receiver_that_does_not_answer_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        secret = tmp_path / "secret"
        secret.write_text("shared")
        settings = AlertSettings(
            webhook_url=f"http://127.0.0.1:{deaf.getsockname()[1]}/", webhook_secret_file=secret
        )
        with pytest.raises(NoticeUntold, match="does not answer in time"):
            WebhookSink(settings, timeout=0.2).tell(RAISED)
