"""Every expected failure of the node, as one tree.

The class docstring is the message; each face looks the class up in its own table.

```
NodeError
├── Rejected                    no repetition can mend it
│   ├── Malformed
│   │   ├── MalformedIdentifier
│   │   ├── MalformedInstance
│   │   ├── MismatchedInstance
│   │   ├── MalformedMessage
│   │   ├── MalformedMetadata
│   │   ├── MalformedQuery
│   │   ├── MalformedValue
│   │   └── TooLarge
│   ├── Unidentified            kept in quarantine, not in the archive
│   ├── Withdrawn
│   ├── ReadOnly
│   ├── LastCopy
│   ├── Locked
│   ├── Unknown
│   │   ├── UnknownInstance
│   │   ├── UnknownStudy
│   │   ├── UnknownPatient
│   │   ├── UnknownRule
│   │   ├── UnknownDevice
│   │   ├── UnknownCaller
│   │   ├── UnknownMember
│   │   ├── UnknownTicket
│   │   ├── UnknownAlert
│   │   ├── UnknownDestination
│   │   ├── UnknownPartner
│   │   ├── UnknownRole
│   │   ├── UnknownGrant
│   │   ├── UnknownAccount
│   │   ├── UnknownEmergency
│   │   └── UnknownProvider
│   ├── ForeignRefused
│   ├── BadPolicy
│   ├── MetadataRefused
│   ├── PasswordRefused
│   └── AccessDenied
│       ├── Unauthenticated
│       │   ├── BadSignature
│       │   ├── Expired
│       │   ├── Replayed
│       │   ├── LoginRefused
│       │   ├── PasswordChange
│       │   ├── AttributeMissing
│       │   └── SecondFactorNeeded
│       ├── Forbidden
│       └── LinkSuspended
├── Unavailable                 the same call may succeed later
│   ├── StoreFull
│   ├── StoreFailing
│   ├── CatalogBusy
│   ├── TooBusy
│   ├── IssuedBeforeStart
│   ├── CopiesOwed
│   ├── NoWholeCopy
│   ├── BrakeTripped
│   ├── NoticeUntold
│   └── PeerUnreachable
├── Damaged                     opens a finding
│   ├── BlobMissing
│   ├── BlobUnreadable
│   └── DigestMismatch
└── Misconfigured               the node does not start, and says what to change
    ├── BadSetting
    ├── UnusableKey
    ├── StoreAbsent
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


class MalformedMessage(Malformed):
    """The message cannot be read: {0}."""


class MalformedMetadata(Malformed):
    """The metadata of the node cannot be read: {0}."""


class MalformedQuery(Malformed):
    """The query cannot be read: {0}."""


class MalformedValue(Malformed):
    """This cannot be the value of {0}: {1}."""


class TooLarge(Malformed):
    """What was sent is longer than {0} bytes."""


class Unidentified(Rejected):
    """The data set names no {0}; it was kept in quarantine as {1}, not in the archive."""


class Withdrawn(Rejected):
    """Instance {0} was withdrawn; `konzilium restore` takes that back."""


class ReadOnly(Rejected):
    """{0} is a backup, which takes nothing new and changes nothing; {1}."""


class Locked(Rejected):
    """Study {0} may not be withdrawn before {1}."""


class LastCopy(Rejected):
    """No other site has proved a copy of {0} now, so this one stays."""


class Unknown(Rejected):
    """Nothing is known here by the name {0}."""


class UnknownInstance(Unknown):
    """Instance {0} is not in this archive."""


class UnknownStudy(Unknown):
    """Study {0} is not in this archive."""


class UnknownPatient(Unknown):
    """No patient with that Patient ID and issuer is in this archive."""


class UnknownRule(Unknown):
    """There is no rule called {0}; `konzilium rule list` shows those that are."""


class UnknownDevice(Unknown):
    """No device called {0} is on the list; `konzilium device list` shows those that are."""


class UnknownCaller(Unknown):
    """No device called {0} has knocked; `konzilium device pending` shows those that have."""


class UnknownMember(Unknown):
    """No site called {0} is a member here; `konzilium peers` shows those that are."""


class UnknownTicket(Unknown):
    """The ticket {0} is not known here, or has expired; ask for a new one."""


class UnknownAlert(Unknown):
    """No alert called {0} is open; `konzilium alerts` shows those that are."""


class UnknownDestination(Unknown):
    """{0} is not a known device, so its address is unknown; add it with `konzilium device add`."""


class UnknownPartner(Unknown):
    """{0} is not a partner; `konzilium partner list` shows those that are."""


class UnknownRole(Unknown):
    """The policy knows no role called {0}; `konzilium policy show` lists those that there are."""


class UnknownGrant(Unknown):
    """There is no grant with the number {0}; `konzilium grant list` shows those that are."""


class UnknownAccount(Unknown):
    """There is no local account called {0}; `konzilium account list` shows those that are."""


class UnknownEmergency(Unknown):
    """There is no emergency access with the number {0}; `konzilium emergency list` shows those that are."""


class UnknownProvider(Unknown):
    """No identity provider is known here by the name {0}; `konzilium idp list` shows those that are."""


class MetadataRefused(Rejected):
    """The metadata of {0} are not believed: {1}."""


class BadPolicy(Rejected):
    """The policy cannot be used: {0}."""


class PasswordRefused(Rejected):
    """This password cannot be used: {0}."""


class ForeignRefused(Rejected):
    """{0} refused what was asked of it: {1}."""


class AccessDenied(Rejected):
    """Access is denied: {0}."""

    is_recorded: bool = False
    """Whether the audit record tells of it already, so that the face need not."""


class Unauthenticated(AccessDenied):
    """The caller is not known here: {0}."""


class BadSignature(Unauthenticated):
    """The signature does not hold: {0}."""


class Expired(Unauthenticated):
    """It is outside its time: {0}."""


class Replayed(Unauthenticated):
    """It was received before: {0}."""


class LoginRefused(Unauthenticated):
    """The login did not succeed: {0}."""


class PasswordChange(Unauthenticated):
    """The password of account {0} is right, and has to be changed before anything else."""


class AttributeMissing(Unauthenticated):
    """{0} did not tell {1}; ask {2} to release it to this service."""


class SecondFactorNeeded(Unauthenticated):
    """This asks for a login with a second factor: {0}."""


class Forbidden(AccessDenied):
    """{0} may not {1}: {2}."""

    step_up: bool = False
    """Whether a login with a second factor would change that."""
    emergency: bool = False
    """Whether it may be opened in an emergency."""


class LinkSuspended(AccessDenied):
    """The link between {0} and {1} is cut; somebody at {0} has to resume it."""


class Unavailable(NodeError):
    """The node cannot do this now; the same call may succeed later: {0}."""

    retry_after: int | None = None
    """Seconds after which to try again, where somebody knows."""


class StoreFull(Unavailable):
    """There is no room for it: {0}."""


class StoreFailing(Unavailable):
    """The store cannot be read or written: {0}."""


class CatalogBusy(Unavailable):
    """The catalog could not be written in time: {0}."""


class TooBusy(Unavailable):
    """The node is serving as many callers as it may: {0}."""


class IssuedBeforeStart(Unavailable):
    """It was issued before this node started, so a replay could not be told; send a new one: {0}."""


class CopiesOwed(Unavailable):
    """{0} copies are not verified at their sites yet."""


class NoWholeCopy(Unavailable):
    """No member has proved a copy of {0} now; it is repaired as soon as one has."""


class BrakeTripped(Unavailable):
    """{0}, and a person has to look: {1}. See `konzilium brake` for how to go on."""


class NoticeUntold(Unavailable):
    """A notice could not be sent by {0}: {1}."""


class PeerUnreachable(Unavailable):
    """{0} cannot be reached: {1}."""


class Damaged(NodeError):
    """What is stored here is damaged: {0}."""


class BlobMissing(Damaged):
    """The bytes named {0} are not in the store."""


class BlobUnreadable(Damaged):
    """The bytes named {0} cannot be read from the disk: {1}."""


class DigestMismatch(Damaged):
    """The bytes named {0} have another digest: {1}."""


class Misconfigured(NodeError):
    """The node cannot start: {0}."""


class BadSetting(Misconfigured):
    """Setting {0} in {1}: {2}."""


class UnusableKey(Misconfigured):
    """The key of this site cannot be used: {0}."""


class StoreAbsent(Misconfigured):
    """{0} is not the store of {1}: {2}; mount its disk, or write {1} into {0}/store if all of it is lost."""


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
