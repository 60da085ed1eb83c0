"""SOAP without sockets: requests to an endpoint, and a connection that ends in one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from lxml import etree

from services.https.client import Content
from services.soap.client.grammar import Grammar
from services.soap.client.session import Session
from services.soap.client.wire import Pool
from services.soap.framework.contract import contract_of
from services.soap.framework.document import write, wsdl
from services.soap.framework.names import SOAP12, Soap

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
SHELF = "urn:konzilium:shelf:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def root(self) -> etree._Element:
        return etree.fromstring(self.body)

    def text(self, tag: str) -> str | None:
        """The text of the first element of that local name."""
        return next((one.text for one in self.root.iter() if etree.QName(one).localname == tag), None)


def envelope(content: str, soap: Soap = SOAP12, header: str = "", tns: str = SHELF) -> bytes:
    """A message around some XML."""
    head = f"<e:Header>{header}</e:Header>" if header else ""
    body = f"<e:Body>{content}</e:Body>"
    return f'<e:Envelope xmlns:e="{soap.envelope}" xmlns="{tns}">{head}{body}</e:Envelope>'.encode()


def post(
    application: Application,
    data: bytes,
    content_type: str = SOAP12.media,
    *,
    path: str = "/soap/shelf/1",
    **environ: Any,
) -> Answer:
    """Send a request to a WSGI application."""
    return ask(
        application,
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
            **environ,
        },
    )


def get(application: Application, query: str = "wsdl", path: str = "/soap/shelf/1") -> Answer:
    """Ask for a document."""
    return ask(application, {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query})


def ask(application: Application, environ: dict[str, Any]) -> Answer:
    """Call a WSGI application and close what it answers."""
    heads: list[tuple[str, list[tuple[str, str]]]] = []
    answer = application(
        {"wsgi.url_scheme": "https", "HTTP_HOST": "brno.example:8443", "REMOTE_ADDR": "192.0.2.7", **environ},
        lambda status, headers: heads.append((status, headers)),
    )
    try:
        body = b"".join(answer)
    finally:
        getattr(answer, "close", lambda: None)()
    [(status, headers)] = heads
    return Answer(status=int(status[:3]), headers=dict(headers), body=body)


class InProcess:
    """A connection that ends in a WSGI application of this process."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.closed = False

    def request(
        self, method: str, target: str, *, headers: Mapping[str, str], body: Content
    ) -> InProcessReply:
        data = body if isinstance(body, bytes) else b"".join(bytes(one) for one in body.chunks())
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": target,
            "CONTENT_TYPE": headers["Content-Type"],
            "HTTP_ACCEPT": headers["Accept"],
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
        }
        return InProcessReply(ask(self._application, environ))

    def close(self) -> None:
        self.closed = True


class InProcessReply:
    """An answer from this process."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = Message()
        for name, value in answer.headers.items():
            self.headers[name] = value
        self._body = io.BytesIO(answer.body)

    def read(self, most: int) -> bytes:
        return self._body.read(most)

    def readinto(self, view: memoryview) -> int:
        return self._body.readinto(view)


def session(service: type, application: Application, **options: Any) -> Session:
    """A session that ends in this process, with the document of the declaration."""
    contract = contract_of(service)
    target = f"/soap/{contract.path}/{contract.version}"
    return Session(
        service,
        peer="brno",
        pool=Pool(lambda: InProcess(application)),
        target=target,
        grammar=Grammar(write(wsdl(contract, f"https://node.example{target}"))),
        **options,
    )
