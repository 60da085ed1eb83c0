"""SOAP between two nodes over mutual TLS, signed: the pieces fit each other."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager

import pytest

from node.domain.clock import system_clock
from node.domain.errors import BadSignature, Forbidden, PeerUnreachable, Unauthenticated
from node.identity import keys
from services.https.client import Destination, Waits
from services.https.limits import Limits as ServerLimits
from services.https.request import FINGERPRINT
from services.https.server import Server
from services.https.tls import Contexts, client_context
from services.soap.client.grammar import Grammar
from services.soap.client.session import Session
from services.soap.client.wire import Pool
from services.soap.framework.blob import Blob
from services.soap.framework.endpoint import Endpoint, Guards
from services.soap.framework.limits import Limits
from services.soap.framework.registry import Registry
from services.soap.security import Signer, Verifier
from services.soap.wsdl import published
from tests.support.signed import BRNO, PRAGUE, TECHNICIAN
from tests.support.soap_demo import Box, Shelf, State

MIB = 1 << 20


class Line:
    """Brno calls a shelf at Prague."""

    def __init__(self, folder):
        now = system_clock()
        self.brno = keys.make(folder / "brno", site=BRNO, now=now)
        self.prague = keys.make(folder / "prague", site=PRAGUE, now=now)
        self.shelf = Shelf()
        self.verifier = Verifier(site=PRAGUE, certificates_of=self.certificates_of, started=now)
        self.contexts = Contexts(
            self, certificate=self.prague.certificate_file, private_key=self.prague.key_file
        )
        self.registry = Registry([Endpoint(self.shelf, guards=Guards(authenticate=self.authenticate))])

    def version(self):
        return 1

    def trusted(self):
        return (self.brno.pem,)

    def certificates_of(self, site):
        return {BRNO: (self.brno.pem,), PRAGUE: (self.prague.pem,)}.get(site, ())

    def authenticate(self, root, environ):
        return self.verifier.verify(root, environ[FINGERPRINT], system_clock())

    def secure(self, root, action):
        return Signer(self.brno).secure(
            root, audience=PRAGUE, principal=TECHNICIAN, action=action, now=system_clock()
        )

    @contextmanager
    def calls(self, secure=None, limits=None):
        server = Server(self.registry, ("127.0.0.1", 0), self.contexts, ServerLimits(threads=4))
        server.start()
        to = Destination(
            name="prague",
            host="127.0.0.1",
            port=server.port,
            fingerprints=frozenset([self.prague.fingerprint]),
        )
        context = client_context(self.brno.certificate_file, self.brno.key_file)
        pool = Pool.to(to, context, Waits(stall_seconds=5.0))
        try:
            yield Session(
                Shelf,
                peer="prague",
                pool=pool,
                target="/soap/shelf/1",
                secure=secure or self.secure,
                grammar=Grammar(published(Shelf)),
                limits=limits or Limits(),
            )
        finally:
            pool.close()
            server.stop(grace=2.0)


@pytest.fixture
def line(tmp_path):
    return Line(tmp_path)


def test_a_signed_call_is_answered_and_says_who_caused_it(line):
    with line.calls() as calls:
        assert calls.call(Shelf.stat, uid="1.2") == Box(uid="1.2", size=3, state=State.OWED)
        assert calls.call(Shelf.stat, uid="1.3").uid == "1.3"
    [first, second] = line.shelf.calls
    assert (first.caller.node, str(first.caller.principal)) == (BRNO, str(TECHNICIAN))
    assert first.message_id != second.message_id


def test_an_error_comes_back_over_the_wire(line):
    def refuse(uid):
        raise Forbidden("operator:technician@brno", "look", "no consent")

    line.shelf.act = refuse
    with line.calls() as calls, pytest.raises(Forbidden, match="no consent"):
        calls.call(Shelf.stat, uid="1.2")


def test_a_body_that_was_changed_after_it_was_signed_is_refused(line):
    def change(root, action):
        secured = line.secure(root, action)
        secured[-1][0][0].text = "6.6.6"
        return secured

    with line.calls(secure=change) as calls, pytest.raises(BadSignature):
        calls.call(Shelf.stat, uid="1.2")
    assert line.shelf.calls == []


def test_a_call_without_security_is_refused(line):
    with line.calls(secure=lambda root, action: root) as calls, pytest.raises(Unauthenticated):
        calls.call(Shelf.stat, uid="1.2")


def test_signed_messages_carry_bytes_beside_them_both_ways(line):
    piece = bytes(range(256)) * 4096
    digests = []

    def act(name, blob=None):
        if blob is None:
            return Blob(lambda: (piece for _ in range(6)), 6 * MIB)
        digest = hashlib.sha256()
        for chunk in blob.chunks():
            digest.update(chunk)
        digests.append(digest.hexdigest())
        return None

    line.shelf.act = act
    with line.calls() as calls:
        sent = Blob(lambda: (piece for _ in range(6)), 6 * MIB)
        assert calls.call(Shelf.store, name="a", content=sent) == 6 * MIB
        with calls.open(Shelf.fetch, name="a") as blob:
            received = hashlib.sha256()
            for chunk in blob.chunks():
                received.update(chunk)
    expected = hashlib.sha256(piece * 6).hexdigest()
    assert (digests, received.hexdigest()) == ([expected], expected)


def test_bytes_that_end_early_there_are_no_answer_here(line):
    line.shelf.act = lambda name: Blob(lambda: [b"ab"], 10)
    with line.calls() as calls:
        with pytest.raises(PeerUnreachable):
            calls.call(Shelf.fetch, name="a")
        line.shelf.act = lambda name: Blob.of(b"whole")
        with calls.open(Shelf.fetch, name="a") as blob:
            assert blob.read() == b"whole"


def test_several_threads_share_a_session(line):
    answers = []
    with line.calls() as calls:

        def work(number):
            answers.extend(calls.call(Shelf.stat, uid=f"{number}.{turn}").uid for turn in range(5))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == sorted(f"{number}.{turn}" for number in range(4) for turn in range(5))
