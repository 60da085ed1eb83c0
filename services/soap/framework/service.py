"""How a service is declared: a class of bound methods with annotations.

```python
class Storage(Service):
    '''Objects of this site.'''

    name, path, version = "Storage", "storage", 1

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @operation(result="entry", faults=(UnknownInstance,))
    def stat(self, call: Call, digest: DigestText) -> Entry:
        '''Say what is known of an object.'''
```

The contract is read from the class; the doors come with the instance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from lxml import etree

from node.domain.errors import NodeError
from services.soap.framework.names import Soap

Method = TypeVar("Method", bound=Callable[..., Any])


class Service:
    """One contract: its names, and the operations as methods."""

    name: ClassVar[str]
    """In the names of the WSDL: `StoragePortType`, `StorageSoap12Port`."""
    path: ClassVar[str]
    """In the namespace and the address: `urn:konzilium:storage:1`, `/soap/storage/1`."""
    version: ClassVar[int] = 1
    """The major version; the next one is another class, served beside this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the decorator says of an operation beyond its annotations."""

    result: str
    faults: tuple[type[NodeError], ...]
    raw: bool


@dataclass(slots=True, kw_only=True)
class Call:
    """What an operation may know of the message that calls it."""

    operation: str
    soap: Soap
    body: etree._Element
    """The request as it was received, validated; for operations that read it themselves."""
    address: str = ""
    caller: Any = None
    """What `authenticate` said."""
    message_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """For the HTTP answer, on top of those that are always there."""


def operation(
    *, result: str = "result", faults: tuple[type[NodeError], ...] = (), raw: bool = False
) -> Callable[[Method], Method]:
    """Publish a method.

    Args:
        result: the name of the element that holds what it returns.
        faults: the errors it raises besides those that every operation may raise.
        raw: it reads `call.body` itself, and gets None for every argument.

    A method may return an lxml element instead of its declared result: the whole response element,
    which must be valid against the published schema.
    """

    def publish(method: Method) -> Method:
        method.__soap__ = Terms(result=result, faults=faults, raw=raw)  # type: ignore[attr-defined]
        return method

    return publish
