"""HTTPS for people: no certificate is asked of them, unless persons have some."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.https.public import PublicContexts
from services.https.request import CERTIFICATE
from services.https.server import Server
from tests.support.certificates import Identity, identity


def tells_certificate(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    shown = environ[CERTIFICATE] or b""
    start_response("200 OK", [("Content-Length", str(len(shown)))])
    return [shown]


@contextmanager
def serving(contexts: PublicContexts) -> Iterator[Callable[[ssl.SSLContext], bytes]]:
    """A server, and what asks it once with a client's context."""
    server = Server(tells_certificate, ("127.0.0.1", 0), contexts)
    server.start()

    def ask(context: ssl.SSLContext) -> bytes:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    try:
        yield ask
    finally:
        server.stop()


def browser(shows: Identity | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shows is not None:
        context.load_cert_chain(shows.certificate, shows.private_key)
    return context


def test_nobody_is_asked_for_a_certificate_where_persons_have_none(tmp_path: Path) -> None:
    portal, person = identity(tmp_path, "portal"), identity(tmp_path, "person")
    with serving(PublicContexts(portal.certificate, portal.private_key)) as ask:
        assert ask(browser()) == b""
        assert ask(browser(person)) == b""


def test_the_certificate_of_a_person_reaches_the_application(tmp_path: Path) -> None:
    portal, authority = identity(tmp_path, "portal"), identity(tmp_path, "authority", ca=True)
    person = identity(tmp_path, "person", issuer=authority)
    contexts = PublicContexts(portal.certificate, portal.private_key, authority.certificate)
    with serving(contexts) as ask:
        assert ask(browser(person)) == ssl.PEM_cert_to_DER_cert(person.pem)
        assert ask(browser()) == b""


def test_a_certificate_that_no_trusted_authority_signed_ends_the_handshake(tmp_path: Path) -> None:
    portal, authority = identity(tmp_path, "portal"), identity(tmp_path, "authority", ca=True)
    stranger = identity(tmp_path, "stranger")
    contexts = PublicContexts(portal.certificate, portal.private_key, authority.certificate)
    with serving(contexts) as ask, pytest.raises((ssl.SSLError, OSError)):
        ask(browser(stranger))


def test_a_certificate_that_was_replaced_is_shown_without_a_restart(tmp_path: Path) -> None:
    first, second = identity(tmp_path, "first"), identity(tmp_path, "second")
    contexts = PublicContexts(first.certificate, first.private_key)
    before = contexts.current()
    assert contexts.current() is before
    second.private_key.replace(first.private_key)
    second.certificate.replace(first.certificate)
    assert contexts.current() is not before


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    portal = identity(tmp_path, "portal")
    context = PublicContexts(portal.certificate, portal.private_key).current().context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
