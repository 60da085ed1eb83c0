"""What a node says of itself is read as it was meant, from whoever holds its key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from node.domain.errors import BadSignature, MalformedMetadata
from node.domain.ids import AETitle
from node.identity.metadata import MAX_CERTIFICATES, MAX_METADATA, Descriptor, read, written
from node.identity.xmlnames import DS, MD, NODE, SHIBMD, XSI
from node.identity.xmlsig import sign
from tests.support.saml_schema import NODE as NODE_SCHEMA
from tests.support.saml_schema import schema
from tests.support.signed import BRNO, NOW, Federation


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return Federation(tmp_path_factory.mktemp("keys"))


def descriptor(federation: Federation, **different) -> Descriptor:
    return replace(
        Descriptor(
            site=BRNO,
            url="https://node.brno.example:11443",
            certificates=(federation.brno.pem,),
            ae_title=AETitle("BRNO"),
            organization="Nemocnice Žabovřesky <& synové>",
            scopes=("brno", "brno.example"),
            version=3,
            valid_until=NOW,
            software="0.2.0",
        ),
        **different,
    )


def test_what_is_written_is_read(federation):
    said = descriptor(federation)
    text = written(said, federation.brno, NOW)
    assert read(text) == said
    assert read(text, [federation.plzen.pem, federation.brno.pem]) == said


def test_metadata_are_valid_against_the_schema_of_saml(federation):
    both = (federation.brno.pem, federation.plzen.pem)
    for different in ({}, {"url": None, "valid_until": None}, {"certificates": both, "scopes": ()}):
        text = written(descriptor(federation, **different), federation.brno, NOW)
        schema(NODE_SCHEMA).assertValid(etree.fromstring(text))


def test_a_node_that_only_calls_has_no_address(federation):
    said = descriptor(federation, url=None, valid_until=None, software="", scopes=())
    assert read(written(said, federation.brno, NOW)) == said


def test_during_a_change_of_keys_it_lists_both_and_either_may_have_signed(federation):
    said = descriptor(federation, certificates=(federation.brno.pem, federation.plzen.pem))
    assert read(written(said, federation.brno, NOW)) == said
    assert read(written(said, federation.plzen, NOW)) == said


@settings(max_examples=40)
@given(
    organization=st.text(
        st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=256
    ),
    version=st.integers(0, 2**53),
    until=st.none() | st.integers(0, 4_000_000_000_000_000),
    host=st.sampled_from(["localhost", "10.0.0.1", "[::1]", "node.example", "xn--bn-mja.cz"]),
    port=st.integers(1, 65535),
)
def test_whatever_a_site_is_called_its_metadata_is_read_as_it_was_meant(
    federation, organization, version, until, host, port
):
    said = descriptor(
        federation,
        organization=organization,
        version=version,
        valid_until=until,
        url=f"https://{host}:{port}",
    )
    assert read(written(said, federation.brno, NOW)) == said


def test_metadata_that_another_key_signed_is_refused_though_it_lists_that_key(federation):
    said = descriptor(federation, certificates=(federation.rogue.pem,))
    text = written(said, federation.rogue, NOW)
    assert read(text) == said
    with pytest.raises(BadSignature, match="not known"):
        read(text, [federation.brno.pem])


def test_metadata_has_to_be_signed_by_a_key_that_it_lists(federation):
    text = written(descriptor(federation), federation.rogue, NOW)
    assert read(text, [federation.rogue.pem])
    with pytest.raises(BadSignature, match="not known"):
        read(text)


def test_every_change_is_noticed(federation):
    text = written(descriptor(federation), federation.brno, NOW)
    for old, new in (
        ("urn:konzilium:node:brno", "urn:konzilium:node:plzen"),
        ('version="3"', 'version="4"'),
        (">BRNO<", ">BRN0<"),
        ("node.brno.example", "node.evil.example"),
        (">brno.example<", ">prague<"),
        ("<md:KeyDescriptor", "<md:KeyDescriptor x=''"),
    ):
        assert old in text
        with pytest.raises(BadSignature, match="changed"):
            read(text.replace(old, new), [federation.brno.pem])


def refused(federation: Federation, change: Callable[[etree._Element], object], why: str) -> None:
    """The metadata is good, and if its owner had signed it with this change in it, it would not be."""
    entity = etree.fromstring(written(descriptor(federation), federation.brno, NOW))
    entity.remove(entity[0])
    sign(entity, federation.brno)
    assert read(etree.tostring(entity, encoding="unicode")) == descriptor(federation)
    entity.remove(entity[0])
    change(entity)
    sign(entity, federation.brno)
    with pytest.raises(MalformedMetadata, match=why):
        read(etree.tostring(entity, encoding="unicode"))


def find(entity: etree._Element, namespace: str, name: str) -> etree._Element:
    return next(entity.iter(f"{{{namespace}}}{name}"))


def again(element: etree._Element) -> None:
    element.getparent().append(etree.fromstring(etree.tostring(element)))


@pytest.mark.parametrize(
    "entity_id", ["", "brno", "https://brno.example", "urn:konzilium:node:", "urn:konzilium:node:B"]
)
def test_it_has_to_describe_a_node(federation, entity_id):
    refused(federation, lambda entity: entity.set("entityID", entity_id), "describe a node")


def test_one_of_everything_is_wanted(federation):
    for namespace, name in (
        (MD, "RoleDescriptor"),
        (MD, "Extensions"),
        (MD, "Organization"),
        (NODE, "Release"),
        (NODE, "AETitle"),
        (NODE, "Endpoint"),
    ):
        refused(
            federation, lambda entity, at=namespace, n=name: again(find(entity, at, n)), f"2 elements {name}"
        )
        if name != "Endpoint":
            refused(
                federation,
                lambda entity, at=namespace, n=name: (
                    find(entity, at, n).getparent().remove(find(entity, at, n))
                ),
                f"0 elements {name}",
            )


@pytest.mark.parametrize(
    "kind", ["", "NodeDescriptorType", "md:NodeDescriptorType", "konzilium:Other", "x:y"]
)
def test_another_role_is_none_of_a_node(federation, kind):
    refused(federation, lambda entity: find(entity, MD, "RoleDescriptor").set(f"{{{XSI}}}type", kind), "role")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a:1",
        "https://a:1/",
        "https://a:1/x",
        "https://a:b",
        "https://u@a:1",
        "https://:1",
        "https://a:0",
        "https://a:1?x",
        "https://a:1#x",
        "https://a b:1",
        "https://a:99999",
        "file:///etc/passwd",
        "HTTPS://a:1",
    ],
)
def test_an_address_is_scheme_host_and_port(federation, url):
    refused(federation, lambda entity: find(entity, NODE, "Endpoint").set("Location", url), r"address|text")


@pytest.mark.parametrize("title", ["A" * 17, "A\\B", " ", "Á"])
def test_an_ae_title_is_one(federation, title):
    refused(federation, lambda entity: setattr(find(entity, NODE, "AETitle"), "text", title), "AE title")


@pytest.mark.parametrize("version", ["", "-1", "1.0", "9" * 17, "٣", "x"])
def test_a_version_is_a_whole_number(federation, version):
    refused(federation, lambda entity: find(entity, NODE, "Release").set("version", version), "version")


def test_texts_are_one_line_that_people_can_read(federation):
    for text in ("x" * 257, "a\nb", "a\u202eb"):
        refused(
            federation,
            lambda entity, text=text: setattr(find(entity, MD, "OrganizationDisplayName"), "text", text),
            "one line",
        )
        refused(
            federation,
            lambda entity, text=text: find(entity, NODE, "Release").set("software", text),
            "one line",
        )
    refused(federation, lambda entity: setattr(find(entity, SHIBMD, "Scope"), "text", ""), "one line")


def test_a_time_is_a_time(federation):
    refused(federation, lambda entity: entity.set("validUntil", "tomorrow"), "no time")


def test_certificates_are_certificates_and_not_too_many(federation):
    def many(entity: etree._Element) -> None:
        for _ in range(MAX_CERTIFICATES):
            again(find(entity, MD, "KeyDescriptor"))

    def text_of(text: str) -> Callable[[etree._Element], None]:
        return lambda entity: setattr(find(entity, MD, "RoleDescriptor")[0][0][0][0], "text", text)

    refused(federation, lambda entity: again(find(entity, MD, "KeyDescriptor")), "different certificates")
    refused(federation, many, "different certificates")
    refused(federation, text_of("AAAA"), "no PEM certificate")
    refused(federation, text_of("!"), "base64")
    refused(federation, lambda entity: entity[1].remove(entity[1][0]), "certificates")
    refused(federation, lambda entity: find(entity, DS, "X509Data").clear(), "X509Certificate")


def test_too_many_scopes_are_refused(federation):
    refused(federation, lambda entity: [again(find(entity, SHIBMD, "Scope")) for _ in range(40)], "scopes")


def test_what_is_no_metadata_at_all_is_refused(federation):
    for text in (
        "",
        "x",
        "<a/>",
        "\ud800",
        "<!DOCTYPE a><a/>",
        f'<a xmlns="{MD}"/>',
        "<a>" + " " * MAX_METADATA,
    ):
        with pytest.raises(MalformedMetadata):
            read(text)


def test_metadata_that_nobody_could_read_is_not_written(federation):
    for different in ({"url": "http://x"}, {"organization": ""}, {"certificates": ()}, {"version": -1}):
        with pytest.raises(MalformedMetadata):
            written(descriptor(federation, **different), federation.brno, NOW)
