"""Every expected failure of the node, as one tree.

The class docstring is the message; each face looks the class up in its own table.

```
NodeError
├── Rejected                    no repetition can mend it
│   ├── Malformed
│   │   ├── MalformedIdentifier
│   │   ├── MalformedInstance
│   │   ├── MismatchedInstance
│   │   └── MalformedQuery
│   ├── Unidentified            kept in quarantine, not in the archive
│   ├── Unknown
│   │   ├── UnknownInstance
│   │   ├── UnknownDevice
│   │   ├── UnknownCaller
│   │   └── UnknownDestination
│   └── AccessDenied
│       ├── Unauthenticated
│       └── Forbidden
├── Unavailable                 the same call may succeed later
│   ├── StoreFull
│   ├── StoreFailing
│   ├── CatalogBusy
│   ├── TooBusy
│   └── PeerUnreachable
├── Damaged                     opens a finding
│   ├── BlobMissing
│   └── DigestMismatch
└── Misconfigured               the node does not start, and says what to change
    ├── BadSetting
    ├── NotASite
    ├── AlreadyASite
    ├── AlreadyRunning
    ├── SchemaTooNew
    └── PortTaken
```
"""

from __future__ import annotations

import inspect


class NodeError(Exception):
    """The node could not do what was asked."""

    def __str__(self) -> str:
        """The class docstring with the arguments filled in."""
        return inspect.cleandoc(type(self).__doc__ or "").format(*self.args)


class Rejected(NodeError):
    """The request cannot be carried out as it was asked: {0}."""


class Malformed(Rejected):
    """What was sent is malformed: {0}."""


class MalformedIdentifier(Malformed):
    """This is not a valid {0}."""


class MalformedInstance(Malformed):
    """The data set cannot be read: {0}."""


class MismatchedInstance(Malformed):
    """The data set is not the one that was announced: {0} differs."""


class MalformedQuery(Malformed):
    """The query cannot be read: {0}."""


class Unidentified(Rejected):
    """The data set names no {0}; it was kept in quarantine as {1}, not in the archive."""


class Unknown(Rejected):
    """Nothing is known here by the name {0}."""


class UnknownInstance(Unknown):
    """Instance {0} is not in this archive."""


class UnknownDevice(Unknown):
    """No device called {0} is on the list; `konzilium device list` shows those that are."""


class UnknownCaller(Unknown):
    """No device called {0} has knocked; `konzilium device pending` shows those that have."""


class UnknownDestination(Unknown):
    """{0} is not a known device, so its address is unknown; add it with `konzilium device add`."""


class AccessDenied(Rejected):
    """Access is denied: {0}."""


class Unauthenticated(AccessDenied):
    """The caller is not known here: {0}."""


class Forbidden(AccessDenied):
    """{0} may not {1}: {2}."""


class Unavailable(NodeError):
    """The node cannot do this now; the same call may succeed later: {0}."""


class StoreFull(Unavailable):
    """There is no room for it: {0}."""


class StoreFailing(Unavailable):
    """The store cannot be read or written: {0}."""


class CatalogBusy(Unavailable):
    """The catalog could not be written in time: {0}."""


class TooBusy(Unavailable):
    """The node is serving as many callers as it may: {0}."""


class PeerUnreachable(Unavailable):
    """{0} cannot be reached: {1}."""


class Damaged(NodeError):
    """What is stored here is damaged: {0}."""


class BlobMissing(Damaged):
    """The bytes named {0} are not in the store."""


class DigestMismatch(Damaged):
    """The bytes named {0} have another digest: {1}."""


class Misconfigured(NodeError):
    """The node cannot start: {0}."""


class BadSetting(Misconfigured):
    """Setting {0} in {1}: {2}."""


class NotASite(Misconfigured):
    """{0} is not a site folder; make one with `konzilium init {0} --site NAME`."""


class AlreadyASite(Misconfigured):
    """{0} already holds files; a new site wants a new or empty folder."""


class AlreadyRunning(Misconfigured):
    """A node is already running on {0} (process {1})."""


class SchemaTooNew(Misconfigured):
    """The catalog has schema {0}, this program knows up to {1}; install the newer program."""


class PortTaken(Misconfigured):
    """Port {0} is already in use; choose another in site.toml or stop the program that has it."""
