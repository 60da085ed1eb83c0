"""Tokens of persons: each case has one defect, is freshly signed, and stands beside one that is good."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from node.domain.errors import AttributeMissing, BadSetting, BadSignature, Expired, LoginRefused, NodeError
from node.identity.token_issuers import KeyFile, read_issuers
from node.identity.tokens import LONGEST, SKEW, Tokens
from tests.support.sites import BRNO
from tests.support.tokens import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    OTHER_KEY,
    RSA_KEY,
    claims,
    forged,
    jwk,
    token,
    write_issuer,
)

NOW = 1_700_000_000.0


def clock() -> int:
    return int(NOW * 1_000_000)


def tokens(folder: Path, **more: object) -> Tokens:
    return Tokens(read_issuers(write_issuer(folder, **more)), BRNO, clock)  # type: ignore[arg-type]


@pytest.fixture
def brno(tmp_path: Path) -> Tokens:
    return tokens(tmp_path)


@pytest.mark.parametrize(
    "shown",
    [
        token(NOW),
        token(NOW, key=EC_KEY, algorithm="ES256", header={"kid": "two"}),
        token(NOW, algorithm="PS256"),
        token(NOW, header={"kid": "one", "typ": "at+jwt"}),
        token(NOW, aud=["another", AUDIENCE]),
        token(NOW, exp=int(NOW) - SKEW + 5, iat=int(NOW) - 300),
        token(NOW, iat=int(NOW) + SKEW - 5, exp=int(NOW) + 300),
    ],
    ids=["rsa", "ec", "pss", "access token", "two audiences", "just ended", "a fast clock"],
)
def test_a_good_token_names_the_person(brno: Tokens, shown: bytes) -> None:
    person = brno.person(shown)
    assert (person.name, person.issuer, person.display) == ("jana@hospital-brno.test", ISSUER, "Jana Test")
    assert not person.mfa


def secret_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def with_shared_secret() -> bytes:
    """Signed with the public key as if it were a secret (RFC 8725 2.1)."""
    unsigned = forged({"alg": "HS256", "kid": "one"}, claims(NOW), b"x").rpartition(b".")[0]
    return forged(
        {"alg": "HS256", "kid": "one"}, claims(NOW), hmac.digest(secret_of(RSA_KEY), unsigned, "sha256")
    )


def altered() -> bytes:
    head, _, signature = token(NOW).split(b".")
    body = forged({}, claims(NOW, eduperson_principal_name="petr@hospital-brno.test")).split(b".")[1]
    return b".".join((head, body, signature))


DEFECTS: dict[str, tuple[Callable[[], bytes], type[NodeError]]] = {
    "another key": (lambda: token(NOW, key=OTHER_KEY), BadSignature),
    "another body": (altered, BadSignature),
    "no signature": (lambda: forged({"alg": "none", "kid": "one"}, claims(NOW), b"x"), BadSignature),
    "a shared secret": (with_shared_secret, BadSignature),
    "an unknown key": (lambda: token(NOW, header={"kid": "three"}), BadSignature),
    "no key named": (lambda: token(NOW, header={}), BadSignature),
    "the key of another kind": (lambda: token(NOW, header={"kid": "two"}), BadSignature),
    "its own key": (
        lambda: token(NOW, key=OTHER_KEY, header={"kid": "one", "jwk": jwk(OTHER_KEY, "one")}),
        BadSignature,
    ),
    "a critical header": (lambda: token(NOW, header={"kid": "one", "crit": ["x"], "x": 1}), LoginRefused),
    "another type": (lambda: token(NOW, header={"kid": "one", "typ": "logout+jwt"}), LoginRefused),
    "another issuer": (lambda: token(NOW, iss="https://login.hospital-prague.test/"), LoginRefused),
    "no issuer": (lambda: token(NOW, iss=None), LoginRefused),
    "another audience": (lambda: token(NOW, aud="konzilium-prague"), LoginRefused),
    "no audience": (lambda: token(NOW, aud=None), LoginRefused),
    "no end": (lambda: token(NOW, exp=None), LoginRefused),
    "no beginning": (lambda: token(NOW, iat=None), LoginRefused),
    "an end that is no number": (lambda: token(NOW, exp="x"), LoginRefused),
    "no end at all": (lambda: token(NOW, exp=float("inf")), LoginRefused),
    "a beginning that is a truth": (lambda: token(NOW, iat=True), LoginRefused),
    "ended": (lambda: token(NOW, exp=int(NOW) - SKEW, iat=int(NOW) - 300), Expired),
    "of tomorrow": (lambda: token(NOW, iat=int(NOW) + 86400, exp=int(NOW) + 86500), Expired),
    "not yet": (lambda: token(NOW, nbf=int(NOW) + 120), Expired),
    "too long a life": (lambda: token(NOW, exp=int(NOW) + 3601), Expired),
    "nobody": (lambda: token(NOW, eduperson_principal_name=None), AttributeMissing),
    "somebody of another hospital": (
        lambda: token(NOW, eduperson_principal_name="jana@hospital-prague.test"),
        LoginRefused,
    ),
    "two people": (
        lambda: token(NOW, eduperson_principal_name=["a@hospital-brno.test", "b@hospital-brno.test"]),
        AttributeMissing,
    ),
    "a name with a blank": (
        lambda: token(NOW, eduperson_principal_name="jana x@hospital-brno.test"),
        LoginRefused,
    ),
    "too long": (lambda: token(NOW, name="x" * LONGEST), LoginRefused),
    "no token": (lambda: b"hello", LoginRefused),
    "nothing": (lambda: b"", LoginRefused),
    "encrypted": (lambda: b"a.b.c.d.e", LoginRefused),
    "a list": (lambda: forged({"alg": "RS256"}, []), LoginRefused),  # type: ignore[arg-type]
    "a deep header": (lambda: b"W1tb" * 1000 + b".e30.e30", LoginRefused),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_token_with_one_defect_is_refused(brno: Tokens, defect: str) -> None:
    make, error = DEFECTS[defect]
    shown = make()
    with pytest.raises(error) as refused:
        brno.person(shown)
    assert "jana" not in str(refused.value)
    assert brno.person(token(NOW))


@given(place=st.integers(min_value=0, max_value=10_000), change=st.integers(min_value=1, max_value=255))
def test_a_token_with_any_other_byte_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    brno = tokens(tmp_path_factory.mktemp("tokens"))
    shown = bytearray(token(NOW, sub="x" * 7))
    place %= shown.rindex(b".")
    shown[place] ^= change
    with pytest.raises(NodeError):
        brno.person(bytes(shown))


@pytest.mark.parametrize(
    ("said", "mfa"),
    [
        ({"acr": "https://refeds.org/profile/mfa"}, True),
        ({"amr": ["pwd", "mfa"]}, True),
        ({"acr": "https://refeds.org/profile/sfa"}, False),
        ({"amr": ["pwd", "otp"]}, False),
    ],
)
def test_a_second_factor_is_what_the_issuer_says_it_is(
    brno: Tokens, said: dict[str, object], mfa: bool
) -> None:
    assert brno.person(token(NOW, **said)).mfa is mfa  # type: ignore[arg-type]


def test_what_an_issuer_says_of_others_people_is_left_out(brno: Tokens) -> None:
    person = brno.person(
        token(
            NOW,
            eduperson_scoped_affiliation=["staff@hospital-brno.test", "staff@hospital-prague.test"],
            eduperson_entitlement="urn:hospital-brno.test:radiology",
        )
    )
    assert person.values("eduPersonScopedAffiliation") == ("staff@hospital-brno.test",)
    assert person.values("eduPersonEntitlement") == ("urn:hospital-brno.test:radiology",)


def test_the_name_is_in_the_claim_that_the_file_says(tmp_path: Path) -> None:
    assert tokens(tmp_path, claim=None).person(token(NOW)).name == "4711"


def test_keys_that_are_exchanged_are_good_at_once_and_the_old_ones_are_not(tmp_path: Path) -> None:
    brno = tokens(tmp_path, keys=[jwk(RSA_KEY, "one")])
    assert brno.person(token(NOW, header={}))
    write_issuer(tmp_path, keys=[jwk(OTHER_KEY, "new")])
    os.utime(tmp_path / "login.jwks.json", ns=(1, 1))
    assert brno.person(token(NOW, key=OTHER_KEY, header={"kid": "new"}))
    with pytest.raises(BadSignature):
        brno.person(token(NOW))


def test_keys_that_cannot_be_read_for_a_while_stay(tmp_path: Path) -> None:
    brno = tokens(tmp_path)
    (tmp_path / "login.jwks.json").write_text("{")
    assert brno.person(token(NOW))
    (tmp_path / "login.jwks.json").unlink()
    assert brno.person(token(NOW))


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}], "oct"),
        ([jwk(WEAK, "one")], "2048"),
        ([{**jwk(RSA_KEY, "one"), "d": "AQAB"}], "private"),
        ([jwk(RSA_KEY, "one", alg="RS1")], "RS1"),
        ([jwk(RSA_KEY, "one"), jwk(EC_KEY, "one")], "two of one name"),
        ([jwk(RSA_KEY, "one", use="enc")], "no key for signatures"),
        ([jwk(ec.generate_private_key(ec.SECP256K1()), "one")], "EC"),
        ([], "no key"),
        (["one"], "no set"),
    ],
)
def test_a_set_of_keys_that_is_no_good_is_named(
    tmp_path: Path, keys: list[dict[str, object]], said: str
) -> None:
    write_issuer(tmp_path, keys=keys)
    with pytest.raises(BadSetting, match=said):
        KeyFile(tmp_path / "login.jwks.json")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "no name"),
        ({"audience": None}, "no audience"),
        ({"scopes": "hospital-brno.test"}, "right kind"),
        ({"scopes": [1]}, "domains"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": True}, "right kind"),
        ({"other": 1}, "nothing else"),
    ],
)
def test_an_issuer_that_is_not_understood_is_named(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(BadSetting, match=said):
        read_issuers(write_issuer(tmp_path, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[[issuer", "x = 1", "issuer = 1", "[issuer]\nname = 'x'"])
def test_a_file_without_issuers_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(BadSetting, match=r"login\.tokens"):
        read_issuers(path)


def test_an_issuer_is_named_once(tmp_path: Path) -> None:
    path = write_issuer(tmp_path)
    path.write_text(path.read_text() * 2)
    with pytest.raises(BadSetting, match="twice"):
        read_issuers(path)


def test_the_example_of_the_form_is_understood(tmp_path: Path) -> None:
    from node.identity import token_issuers

    example = (token_issuers.__doc__ or "").split("```")[1]
    path = tmp_path / "tokens.toml"
    path.write_text(example)
    (issuer,) = read_issuers(path)
    assert json.dumps(issuer.scopes) == '["hospital.example"]'
