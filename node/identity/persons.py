"""What proves a person, and the principal that follows from it: account, certificate, token or assertion.

```
local account        name@site                              issued by "local"
certificate          UPN, or rfc822Name                     issued by "x509:" and the name of the authority
token, assertion     eduPersonPrincipalName, or subject id  issued by who signed it
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from node.domain.account import LOCAL
from node.domain.errors import LoginRefused, MalformedIdentifier, MalformedValue
from node.domain.ids import SiteId
from node.domain.principal import Attributes, Kind, Principal

LONGEST_NAME: Final = 256
LONGEST_ISSUER: Final = 1024

_UPN: Final = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""The user principal name among the alternative names of a certificate (MS-WCCE 2.2.2.7.7.4)."""
_VISIBLE: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+")
_SAVED: Final = ("name", "site", "issuer", "display", "mfa", "purpose")


def person(
    *,
    issuer: str,
    name: str,
    site: SiteId,
    display: str = "",
    attributes: Mapping[str, Iterable[str]] | Attributes = (),
    mfa: bool = False,
) -> Principal:
    """The principal of a person for whom somebody vouches.

    Args:
        issuer: who vouches.
        name: what the issuer calls the person; with a domain behind an `@`, case does not matter.
        site: this site.
        display: the name as people say it.
        attributes: what the issuer says besides, by the names that eduPerson has for it.
        mfa: whether a second factor was proved.

    Raises:
        LoginRefused: the name cannot be one.
    """
    if not _VISIBLE.fullmatch(name) or len(name) > LONGEST_NAME or not 0 < len(issuer) <= LONGEST_ISSUER:
        raise LoginRefused("the name of the person has blanks or control characters in it, or is too long")
    return Principal(
        kind=Kind.PERSON,
        name=name.lower() if "@" in name else name,
        site=site,
        issuer=issuer,
        display=" ".join(display.split())[:LONGEST_NAME],
        attributes=in_order(attributes),
        mfa=mfa,
    )


def in_order(attributes: Mapping[str, Iterable[str]] | Attributes) -> Attributes:
    """Attributes as a principal carries them: each name once, ascending, without empty ones."""
    pairs = attributes.items() if isinstance(attributes, Mapping) else attributes
    values = {name: tuple(said) for name, said in pairs}
    return tuple((name, values[name]) for name in sorted(values) if values[name])


def of_account(account: str, site: SiteId, *, display: str = "", mfa: bool = False) -> Principal:
    """The person behind a local account."""
    return person(issuer=LOCAL, name=f"{account}@{site}", site=site, display=display, mfa=mfa)


def of_certificate(certificate: x509.Certificate, site: SiteId) -> Principal:
    """The person whom a certificate names, once it was seen to be valid and signed by a trusted authority.

    Raises:
        LoginRefused: it names nobody, or more than one, or is not for authentication.
    """
    _see_for_client(certificate)
    names = _names(certificate)
    if len(names) != 1:
        raise LoginRefused(
            "the certificate has to name one person, by a user principal name or a mail address"
        )
    (name,) = names
    return person(
        issuer=f"x509:{certificate.issuer.rfc4514_string()}",
        name=name,
        site=site,
        display=_common_name(certificate),
        attributes={"mail": _mails(certificate)},
    )


def written(principal: Principal) -> str:
    """A person as JSON, for a session: who it is, not where it calls from or what it may.

    Raises:
        MalformedValue: the principal is no person of this site.
    """
    if principal.kind is not Kind.PERSON or principal.via is not None:
        raise MalformedValue("a session", "it belongs to a person who logged in here")
    saved: dict[str, Any] = {key: value for key in _SAVED if (value := getattr(principal, key))}
    saved["attributes"] = {name: list(values) for name, values in principal.attributes}
    return json.dumps(saved, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def read_principal(text: str) -> Principal:
    """The person that `written` wrote.

    Raises:
        MalformedValue: it wrote no such text.
    """
    try:
        saved = json.loads(text)
        return Principal(
            kind=Kind.PERSON,
            name=_text(saved["name"]),
            site=SiteId(_text(saved["site"])),
            issuer=_text(saved["issuer"]),
            display=_text(saved.get("display", "")),
            attributes=in_order({_text(n): map(_text, v) for n, v in saved.get("attributes", {}).items()}),
            mfa=saved.get("mfa") is True,
            purpose=_text(saved.get("purpose", "")),
        )
    except (MalformedIdentifier, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MalformedValue("a session", "it names no person") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _see_for_client(certificate: x509.Certificate) -> None:
    """Insist that a certificate whose use is limited may authenticate clients (RFC 5280 4.2.1.12)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except ValueError:
        raise LoginRefused("the certificate cannot be read") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise LoginRefused("the certificate is not for the authentication of clients")


def _names(certificate: x509.Certificate) -> set[str]:
    """User principal names, or mail addresses where there is none."""
    principals = {
        name
        for other in _alternatives(certificate, x509.OtherName)
        if other.type_id == _UPN and (name := _utf8(other.value))
    }
    return principals or {mail.lower() for mail in _mails(certificate)}


def _mails(certificate: x509.Certificate) -> list[str]:
    return [str(name.value) for name in _alternatives(certificate, x509.RFC822Name)]


def _alternatives(certificate: x509.Certificate, kind: type[Any]) -> list[Any]:
    """The subject alternative names of a kind (RFC 5280 4.2.1.6)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError:
        raise LoginRefused("the certificate cannot be read") from None
    return [name for name in names if isinstance(name, kind)]


def _utf8(der: bytes) -> str:
    """The text of a DER UTF8String of less than 128 bytes; nothing where it is another value."""
    if len(der) < 2 or der[0] != 0x0C or der[1] != len(der) - 2 or der[1] > 127:
        return ""
    try:
        return der[2:].decode().lower()
    except UnicodeDecodeError:
        return ""


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
