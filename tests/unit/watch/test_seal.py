"""A broken seal is an alert until there is a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.domain.account import AccountName
from node.domain.alert import Severity
from node.identity.accounts import Accounts
from node.settings import AlertSettings
from node.watch.conditions import concerns
from node.watch.look import Eye, Place
from node.wiring import Site, open_site
from tests.support.sites import fast_folder


@pytest.fixture
def site() -> Iterator[Site]:
    with fast_folder() as folder:
        (Path(folder) / "keys").mkdir()
        for name in ("site.crt", "site.key"):
            (Path(folder) / "keys" / name).write_text("none")
            (Path(folder) / "keys" / name).chmod(0o600)
        (Path(folder) / "site.toml").write_text('[site]\nname = "brno"\n')
        with open_site(Path(folder)) as opened:
            yield opened


def alerts(site: Site) -> dict[str, Severity]:
    eye = Eye(Place(settings=site.settings, home=site.home))
    with site.catalog.reading() as unit:
        found = concerns(eye.look(unit).seen, AlertSettings())
    return {one.key: one.severity for one in found if one.kind == "seal-broken"}


def test_the_use_of_the_sealed_account_is_told_until_it_is_sealed_again(site: Site) -> None:
    password = site.account_book.seal(site.operator())
    assert alerts(site) == {}
    site.accounts.enter("administrator", password, address="192.0.2.7")
    assert alerts(site) == {"seal-broken:administrator": Severity.CRITICAL}
    site.account_book.seal(site.operator())
    assert alerts(site) == {}


def test_the_use_of_another_account_is_none(site: Site) -> None:
    name = AccountName("jana")
    password = site.account_book.add(site.operator(), name)
    accounts = Accounts(site.catalog, site.settings.site.name, local=True)
    accounts.enter(name, password, new="seven lanterns over the quay", address="192.0.2.7")
    with site.catalog.reading() as unit:
        assert unit.accounts.all()[0].used_at
    assert alerts(site) == {}
