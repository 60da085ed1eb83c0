"""What the settings of a site make of the proofs that its devices may show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from node.catalog.providers import FOREVER, ProviderRow, Source
from node.domain.account import AccountName
from node.domain.errors import BadSetting, LoginRefused, Unauthenticated
from node.domain.ids import AETitle
from node.domain.principal import Device, Kind, Naming, Principal
from node.identity.at_device import Proof, Shown
from node.identity.providers.descriptor import written
from node.wiring import Site, open_site
from services.run.persons import persons_at_devices
from tests.support import tokens
from tests.support.saml_lab import BASE, SITE, Lab, at
from tests.support.sites import fast_folder

GOOD = "seven lanterns over the quay"
WARD = Principal(kind=Kind.DEVICE, name="WARD", site=SITE, address="192.0.2.20")


@pytest.fixture
def folder() -> Iterator[Path]:
    with fast_folder() as made:
        keys = Path(made) / "keys"
        keys.mkdir()
        for name in ("site.crt", "site.key"):
            (keys / name).write_text("none")
            (keys / name).chmod(0o600)
        yield Path(made)


def settings(folder: Path, *lines: str) -> None:
    (folder / "site.toml").write_text("\n".join([f'[site]\nname = "{SITE}"', *lines]) + "\n")


def add_ward(site: Site) -> None:
    device = Device(ae_title=AETitle("WARD"), host="192.0.2.20", port=104, people=Naming.REQUIRED)
    site.devices.add(site.operator(), device)


def test_an_assertion_of_an_identity_provider_of_the_portal_is_good_at_devices(folder: Path) -> None:
    settings(folder, "[web]", f'url = "{BASE}"')
    lab = Lab(folder)
    answer = lab.answer("", message_signed=False).made()
    lab.close()
    shown = Shown(
        kind=Proof.ASSERTION,
        primary=etree.tostring(at(answer, "saml:Assertion"), with_tail=False),
        secure=True,
    )
    with open_site(folder) as site:
        add_ward(site)
        persons = persons_at_devices(site)
        with pytest.raises(Unauthenticated):
            persons.who(WARD, shown)
        _believe(site, lab)
        assert persons.who(WARD, shown).name == "radiologist@hospital-brno.test"


def _believe(site: Site, lab: Lab) -> None:
    provider = lab.idp.provider
    row = ProviderRow(
        entity=provider.entity, source="brno", described=written(provider), ends=FOREVER, valid_until=FOREVER
    )
    with site.catalog.begin() as unit:
        unit.providers.put_source(Source(name="brno", kind="single", valid_until=FOREVER))
        unit.providers.put(row)


def test_a_token_of_an_issuer_in_the_file_is_good_at_devices(folder: Path) -> None:
    settings(folder, "[login]", f'tokens = "{tokens.write_issuer(folder / "tokens")}"')
    with open_site(folder) as site:
        add_ward(site)
        shown = Shown(kind=Proof.TOKEN, primary=tokens.token(), secure=True)
        assert persons_at_devices(site).who(WARD, shown).issuer == tokens.ISSUER


def test_a_file_of_issuers_that_is_not_in_order_stops_the_node(folder: Path) -> None:
    settings(folder, "[login]", 'tokens = "tokens.toml"')
    (folder / "tokens.toml").write_text("[[issuer]]\n")
    with open_site(folder) as site, pytest.raises(BadSetting, match=r"login\.tokens"):
        persons_at_devices(site)


@pytest.mark.parametrize("local", [True, False])
def test_local_accounts_are_good_at_devices_where_they_are_on(folder: Path, local: bool) -> None:
    settings(folder, "[login]", f"local = {str(local).lower()}")
    with open_site(folder) as site:
        add_ward(site)
        password = site.account_book.add(site.operator(), AccountName("jana"))
        shown = Shown(kind=Proof.PASSCODE, primary=b"jana", secondary=GOOD.encode(), secure=True)
        if local:
            site.accounts.enter("jana", password, new=GOOD, address="192.0.2.1")
            assert persons_at_devices(site).who(WARD, shown).name == f"jana@{SITE}"
        else:
            with pytest.raises(LoginRefused, match="not used at this site"):
                persons_at_devices(site).who(WARD, shown)


def test_without_a_portal_there_are_no_assertions(folder: Path) -> None:
    settings(folder, "[web]", "port = 0")
    with open_site(folder) as site:
        add_ward(site)
        with pytest.raises(LoginRefused, match="cannot be proved here by SAML assertion"):
            persons_at_devices(site).who(WARD, Shown(kind=Proof.ASSERTION, primary=b"<a/>", secure=True))
