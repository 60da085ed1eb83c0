"""A contract: what the declaration of a service adds up to, once for each class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from types import MappingProxyType
from typing import Any, get_type_hints

from lxml import etree

import services.soap.framework.compat  # noqa: F401  (spyne cannot be imported without it)
from services.soap.framework import schema
from services.soap.framework.codec import Attachments, Read, Write, readable, reader, write_one
from services.soap.framework.docs import Docs, read_docs
from services.soap.framework.faults import ALWAYS, FAMILIES, Family, family_of
from services.soap.framework.model import Member, fields_of, member, named_in
from services.soap.framework.names import WSA, camel
from services.soap.framework.service import Service, Terms
from services.soap.framework.types import Types

from spyne import Application, ServiceBase, rpc  # isort: skip
from spyne.util.appreg import unregister_application  # isort: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultDetail:
    """What a fault of this service says.

    Attributes:
        code: the exact name of the error.
        message: the same in words; it holds no patient data.
        retry_after: seconds after which the same call may succeed.
    """

    code: str
    message: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a contract."""

    name: str
    method: str
    """The name of the method in Python."""
    raw: bool
    docs: Docs
    request: tuple[Member, ...]
    result: Member | None
    faults: tuple[Family, ...]
    namespace: str
    read: Read
    """From the request element to the arguments by name."""
    write: Write | None
    """Appends the result to the response element."""
    read_result: Read
    """From the response element to the result by name."""

    @property
    def request_tag(self) -> str:
        """The element of the request."""
        return f"{{{self.namespace}}}{self.name}"

    @property
    def response_tag(self) -> str:
        """The element of the response."""
        return f"{{{self.namespace}}}{self.name}Response"

    @property
    def request_action(self) -> str:
        """What names the request: soapAction and wsa:Action."""
        return f"{self.namespace}:{self.name}Request"

    @property
    def response_action(self) -> str:
        """The wsa:Action of the response."""
        return f"{self.namespace}:{self.name}Response"

    def fault_action(self, family: str) -> str:
        """The wsa:Action of a fault."""
        return f"{self.namespace}:{self.name}:Fault:{family}"

    def arguments(self, body: etree._Element, attachments: Attachments) -> dict[str, Any]:
        """What the method is called with; one that reads the request itself gets nothing for each.

        Raises:
            MalformedMessage: a value is valid by the schema and means nothing.
        """
        if self.raw:
            return dict.fromkeys(one.name for one in self.request)
        values: dict[str, Any] = readable(self.read, body, attachments)
        return values

    def result_of(self, response: etree._Element, attachments: Attachments) -> Any:
        """What a validated response element says, for the side that called.

        Raises:
            MalformedMessage: a value is valid by the schema and means nothing.
        """
        if self.result is None:
            return None
        return readable(self.read_result, response, attachments)[self.result.name]

    def respond(self, value: Any, attachments: Attachments) -> etree._Element:
        """The response element for what the method returned."""
        if isinstance(value, etree._Element):
            return value
        response = etree.Element(self.response_tag, nsmap={"tns": self.namespace})
        if self.write is None or self.result is None or value is None:
            return response
        tag = f"{{{self.namespace}}}{self.result.tag}"
        for item in value if self.result.many else (value,):
            self.write(response, tag, item, attachments)
        return response


FAULT_ACTION = f"{WSA}/soap/fault"
"""The wsa:Action of faults that SOAP itself defines (WS-Addressing 1.0 SOAP binding, 6)."""


class Contract:
    """The operations of a service, their schema, and what validates it."""

    def __init__(self, service: type[Service]) -> None:
        self.name = service.name
        self.path = service.path
        self.version = service.version
        self.namespace = f"urn:konzilium:{service.path}:{service.version}"
        self.docs = read_docs(service)
        self._methods = dict(published(service))
        found = [_operation(self.namespace, name, method) for name, method in self._methods.items()]
        self.operations: Mapping[str, Operation] = MappingProxyType({one.request_tag: one for one in found})
        self.schema = self._schema()
        self.validator = schema.Validator(self.schema)

    @property
    def faults(self) -> tuple[Family, ...]:
        """Every fault that some operation may answer, by name."""
        names = {family.name for one in self.operations.values() for family in one.faults}
        return tuple(FAMILIES[name] for name in sorted(names))

    def _schema(self) -> etree._Element:
        """The schema as spyne draws it, cleaned and documented."""
        kinds = Types(self.namespace)
        details = [kinds.record(family.name, fields_of(FaultDetail)) for family in self.faults]
        application = Application([self._spyne(kinds)], self.namespace, name=self.name, classes=details)
        unregister_application(application)
        drawing = application.interface.docs.xml_schema
        drawing.build_schema_nodes()
        return schema.publish(
            drawing.schema_dict["tns"],
            self.namespace,
            texts=kinds.texts.values(),
            docs=self._documentation(),
            elements=self._elements(),
        )

    def _spyne(self, kinds: Types) -> Any:
        """The service as spyne declares one."""
        methods: dict[str, Any] = {"__module__": __name__}
        for one in self.operations.values():
            returns = (
                {}
                if one.result is None
                else {"_returns": kinds.of(one.result), "_out_variable_name": one.result.tag}
            )
            arguments = [kinds.of(argument) for argument in one.request]
            names = [argument.tag for argument in one.request]
            methods[one.name] = rpc(*arguments, _args=names, _no_ctx=True, **returns)(self._methods[one.name])
        return type(self.name, (ServiceBase,), methods)

    def _elements(self) -> set[str]:
        names = {family.name for family in self.faults}
        for one in self.operations.values():
            names |= {one.name, f"{one.name}Response"}
        return names

    def _documentation(self) -> dict[str, Docs]:
        """What is said of each type of the schema."""
        docs = {family.name: Docs(text=family.doc, parts=_parts(FaultDetail)) for family in self.faults}
        for one in self.operations.values():
            results = () if one.result is None else (one.result,)
            for kind in named_in((*one.request, *results)):
                docs[kind.__name__] = Docs(text=read_docs(kind).text, parts=_parts(kind))
            docs[one.name] = Docs(parts={camel(name): text for name, text in one.docs.parts.items()})
            if one.result is not None and one.docs.returns:
                docs[f"{one.name}Response"] = Docs(parts={one.result.tag: one.docs.returns})
        return docs


_made: dict[type[Service], Contract] = {}


def contract_of(service: type[Service]) -> Contract:
    """The contract of a service, made once."""
    if service not in _made:
        _made[service] = Contract(service)
    return _made[service]


def published(service: type[Service]) -> list[tuple[str, Callable[..., Any]]]:
    """The methods that are operations, by their names on the wire, in the order of their declaration."""
    return [
        (camel(name), method)
        for kind in reversed(service.__mro__)
        for name, method in vars(kind).items()
        if hasattr(method, "__soap__")
    ]


def _operation(namespace: str, name: str, method: Callable[..., Any]) -> Operation:
    terms: Terms = method.__soap__  # type: ignore[attr-defined]
    docs = read_docs(method)
    request, result = _members(method, terms, docs)
    results = () if result is None else (result,)
    return Operation(
        name=name,
        method=method.__name__,
        raw=terms.raw,
        docs=docs,
        request=request,
        result=result,
        faults=_faults(terms),
        namespace=namespace,
        read=reader(namespace, request),
        write=None if result is None else write_one(namespace, result),
        read_result=reader(namespace, results),
    )


def _members(
    method: Callable[..., Any], terms: Terms, docs: Docs
) -> tuple[tuple[Member, ...], Member | None]:
    """The parameters of a method after `self` and the call, and its result."""
    hints = get_type_hints(method, include_extras=True)
    _, _, *arguments = inspect.signature(method).parameters.items()
    request = tuple(
        member(name, hints[name], docs.parts.get(name, ""), defaulted=one.default is not one.empty)
        for name, one in arguments
    )
    returned = hints.get("return", type(None))
    return request, None if returned is type(None) else member(terms.result, returned, docs.returns)


def _faults(terms: Terms) -> tuple[Family, ...]:
    names = {family.name for family in ALWAYS} | {family_of(kind).name for kind in terms.faults}
    return tuple(FAMILIES[name] for name in sorted(names))


def _parts(kind: type) -> dict[str, str]:
    return {one.tag: one.doc for one in fields_of(kind) if one.doc} if is_dataclass(kind) else {}
