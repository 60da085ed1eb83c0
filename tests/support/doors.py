"""Whole sites whose doors for nodes are served by real HTTPS on 127.0.0.1, and lines to call them.

```
with served("brno") as brno, opened("prague") as prague:
    acquaint(brno, prague)
    with Line(prague, brno) as line:
        line.call(Storage.stat, digest=digest)
```
"""

from __future__ import annotations

import logging
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from lxml import etree

from node.domain.clock import system_clock
from node.domain.errors import NodeError
from node.domain.ids import Digest, SiteId
from node.domain.instance import Offer
from node.domain.member import Member
from node.domain.principal import DEVICE_ACTIONS, Kind, Principal
from node.domain.rule import Terms
from node.identity import keys
from node.wiring import Site, open_site
from services.cli.site import make
from services.https.client import Connection, Destination, Upload, Waits
from services.https.server import Server
from services.https.tls import client_context, stranger_context
from services.run.nodes import application, contexts
from services.soap.client.session import Secure, Session
from services.soap.client.wire import Pool, Wire
from services.soap.framework.contract import contract_of
from services.soap.framework.faults import Family, family_of
from services.soap.framework.names import SOAP12
from services.soap.framework.service import Service
from services.soap.security import Signer
from services.soap.services import SERVICES
from services.transfer.frames import DIGESTS, PACK
from tests.support.federation import acquaint as acquaint_all
from tests.support.peers import free_port
from tests.support.sites import fast_folder

SECOND = 1_000_000
LONG = 1 << 20
WAITS = Waits(connect_seconds=10.0, stall_seconds=20.0)
REFUSED: list[str] = []
"""Every fault and every problem that a line was answered, since `discreet` began."""


class SkewedClock:
    """The time of day, and as much later as a test says."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return system_clock() + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += int(seconds * SECOND)


@dataclass(kw_only=True)
class Door:
    """A site that is open, and where it can be called."""

    site: Site
    clock: SkewedClock
    port: int

    @property
    def name(self) -> SiteId:
        return self.site.home.site

    @property
    def catalog(self):  # type: ignore[no-untyped-def]
        return self.site.catalog

    @property
    def home(self):  # type: ignore[no-untyped-def]
        return self.site.home

    @property
    def operator(self) -> Principal:
        return Principal(kind=Kind.OPERATOR, name="technician", site=self.name)

    @property
    def device(self) -> Principal:
        return Principal(kind=Kind.DEVICE, name="CT1", site=self.name, may=DEVICE_ACTIONS)

    def admit(self, instance: tuple[Offer, bytes]) -> Digest:
        """Archive an instance as a device sends it; the name of the bytes that are stored."""
        offer, data = instance
        return self.site.archive.admit(self.device, offer, [data]).digest

    def member(self, other: Door) -> Member:
        """Another site as this one sees it."""
        return self.site.members.find(other.name)

    def consent(self, other: Door, *, export: Terms | None = None, accept: Terms | None = None) -> None:
        self.site.members.consent(self.operator, other.name, export=export, accept=accept)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the catalog says to a question in SQL."""
        with self.catalog.reading() as unit:
            return [tuple(row) for row in unit._connection.exec_driver_sql(sql).fetchall()]


@contextmanager
def opened(name: str) -> Iterator[Door]:
    """A new site in a folder of its own; nobody listens at its door."""
    port = free_port()
    with fast_folder() as folder, ExitStack() as stack:
        directory = _new_site(Path(folder) / name, name, port)
        clock = SkewedClock()
        site = stack.enter_context(open_site(directory, clock=clock))
        yield Door(site=site, clock=clock, port=port)


@contextmanager
def served(name: str) -> Iterator[Door]:
    """A new site whose doors for nodes are open."""
    with opened(name) as door, serving(door):
        yield door


@contextmanager
def serving(door: Door) -> Iterator[None]:
    """Serve a site as its process for other nodes does."""
    server = Server(application(door.site), ("127.0.0.1", door.port), contexts(door.site))
    server.start()
    try:
        yield
    finally:
        server.stop(grace=2.0)


def _new_site(directory: Path, name: str, port: int) -> Path:
    chosen = {
        "site.name": name,
        "node.host": "127.0.0.1",
        "node.port": port,
        "node.url": f"https://127.0.0.1:{port}",
        "store.reserve_mb": 0,
    }
    make(directory, {"dicom.ae_title": name.upper(), **chosen})
    return directory


def acquaint(*doors: Door) -> None:
    """Let every site know every other and exchange everything with it."""
    acquaint_all(*cast(Any, doors))


@dataclass
class Line:
    """Calls of one site at the door of another, on one connection that stays open.

    Attributes:
        caller: whose key signs, and is shown in TLS; a site that can be called itself or not.
        called: whose door it is.
        principal: who causes the calls; the node itself, if nobody is named.
        audience: to whom the messages are addressed.
        anonymous: show no certificate in TLS.
        key: another key than the one of the caller.
        change: what is done to each signed message before it is sent.
    """

    caller: Door
    called: Door
    principal: Principal | None = None
    audience: str | None = None
    anonymous: bool = False
    key: keys.NodeKey | None = None
    change: Callable[[etree._Element], etree._Element] | None = None
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire = Connection(self._destination(), self._context(), WAITS)
        self._pool = Pool(lambda: cast(Wire, self.wire), keep=1)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    @property
    def opened(self) -> int:
        """How many connections were made so far."""
        return self.wire.opened

    def call(self, method: Callable[..., Any], **values: Any) -> Any:
        """Call an operation; what it returns, or the error that was raised there."""
        try:
            return self.session(service_of(method)).call(cast(Any, method), **values)
        except NodeError as error:
            REFUSED.append(str(error))
            assert family_of(type(error)) in declared(method), f"{method} does not declare {error!r}"
            raise

    def session(self, service: type[Service]) -> Session:
        """Calls of one service."""
        return Session(
            service,
            peer=self.called.name,
            pool=self._pool,
            target=target_of(service),
            secure=self.secure,
        )

    @property
    def secure(self) -> Secure:
        """Signs as the node of the caller does."""

        def secure(envelope: etree._Element, action: str) -> etree._Element:
            node = Principal(kind=Kind.NODE, name=self.caller.name, site=self.caller.name)
            signed = Signer(self.key or self.caller.home.key()).secure(
                envelope,
                audience=SiteId(self.audience or self.called.name),
                principal=self.principal or node,
                action=action,
                now=self.caller.clock(),
            )
            made = self.change(signed) if self.change else signed
            self.sent.append(etree.tostring(made, xml_declaration=True, encoding="UTF-8"))
            return made

        return secure

    def post(
        self, service: type[Service], body: bytes, content_type: str = f"{SOAP12.media}; charset=utf-8"
    ) -> tuple[int, bytes]:
        """Send bytes to a service as they are; the status and the body of the answer."""
        return self.ask("POST", target_of(service), {"Content-Type": content_type}, body)

    def get(self, target: str) -> tuple[int, bytes]:
        """Fetch a document."""
        return self.ask("GET", target, {}, b"")

    def pack(self, ticket: str, digests: Sequence[str]) -> tuple[int, bytes]:
        """Ask for a pack."""
        wanted = b"".join(bytes.fromhex(one) for one in digests)
        return self.ask("POST", "/transfer/pack", {"Ticket": ticket, "Content-Type": DIGESTS}, wanted)

    def blob(self, ticket: str, digest: str) -> tuple[int, bytes]:
        """Ask for a blob."""
        return self.ask("GET", f"/transfer/blob/{digest}", {"Ticket": ticket}, b"")

    def put(self, ticket: str, blobs: dict[str, bytes]) -> tuple[int, bytes]:
        """Bring a pack."""
        body = b"".join(
            bytes.fromhex(name) + struct.pack(">Q", len(data)) + data for name, data in blobs.items()
        )
        return self.ask("PUT", "/transfer/pack", {"Ticket": ticket, "Content-Type": PACK}, body)

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Send a request; the status and the body of the answer. A long body waits to be asked for."""
        content = Upload(length=len(body), chunks=lambda: iter([body])) if len(body) > LONG else body
        answer = self.wire.request(method, target, headers=headers, body=content)
        said = answer.read(64 << 20)
        if answer.status >= 400:
            REFUSED.append(said.decode("utf-8", "replace"))
        return answer.status, said

    def _destination(self) -> Destination:
        return Destination(
            name=self.called.name,
            host="127.0.0.1",
            port=self.called.port,
            fingerprints=frozenset([self.called.home.key().fingerprint]),
        )

    def _context(self) -> ssl.SSLContext:
        if self.anonymous:
            return stranger_context()
        key = self.key or self.caller.home.key()
        return client_context(key.certificate_file, key.key_file)


def service_of(method: Callable[..., Any]) -> type[Service]:
    """The service that an operation belongs to."""
    return next(one for one in SERVICES if vars(one).get(method.__name__) is method)


def declared(method: Callable[..., Any]) -> tuple[Family, ...]:
    """The faults that the contract says an operation may answer."""
    operations = contract_of(service_of(method)).operations.values()
    return next(one.faults for one in operations if one.method == method.__name__)


def target_of(service: type[Service]) -> str:
    """The path of a service."""
    return f"/soap/{service.path}/{service.version}"


class Heard(logging.Handler):
    """Everything that was logged, with what was told beside the words."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def text(self) -> str:
        """All of it."""
        formatter = logging.Formatter()
        return "\n".join(f"{formatter.format(one)} {vars(one)}" for one in self.records)


@contextmanager
def discreet(*secrets: str) -> Iterator[Heard]:
    """Hear everything that any part of the program logs, down to the finest, and every refusal.

    None of it may hold one of the secrets.
    """
    heard, root = Heard(), logging.getLogger()
    level = root.level
    REFUSED.clear()
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    try:
        yield heard
    finally:
        root.removeHandler(heard)
        root.setLevel(level)
    said = {"log": heard.text(), "faults": "\n".join(REFUSED)}
    told = [
        f"{secret} in the {where}" for where, text in said.items() for secret in secrets if secret in text
    ]
    assert told == [], told
