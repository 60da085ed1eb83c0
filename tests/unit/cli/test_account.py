"""`konzilium account`, and what `konzilium device` says of people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.domain.errors import LoginRefused, SecondFactorNeeded
from node.domain.principal import Naming
from node.identity.accounts import Accounts
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit

GOOD = "seven lanterns over the quay"
BETTER = "no otter reads a timetable"


def konzilium(*words: object, code: Exit = Exit.FINE) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def new_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site without accounts, to be copied: making its keys takes a while."""
    folder = tmp_path_factory.mktemp("sites") / "brno"
    konzilium("init", folder, "--site", "brno")
    return folder


@pytest.fixture
def site(new_site: Path, tmp_path: Path) -> Path:
    return shutil.copytree(new_site, tmp_path / "brno")


def shown(result: Result) -> str:
    """What is shown once: the line that is set off."""
    (line,) = [line.strip() for line in result.stdout.splitlines() if line.startswith("    ")]
    return line


def enter(site: Path, name: str, password: str, code: str = "", *, new: str = "") -> str:
    with open_site(site) as opened:
        accounts = Accounts(opened.catalog, opened.settings.site.name, local=True)
        return accounts.enter(name, password, code, new=new, address="192.0.2.7").name


def listed(site: Path) -> list[dict[str, object]]:
    return json.loads(konzilium("account", "list", site, "--json").stdout)


def test_an_account_is_made_with_a_password_that_is_shown_once_and_changed(site: Path) -> None:
    added = konzilium("account", "add", site, "jana", "--display", "Jana Test")
    assert f"konzilium grant add {site} jana@brno ROLE --issuer local" in added.stdout
    assert "login.local" in added.stdout
    assert enter(site, "jana", shown(added), new=GOOD) == "jana@brno"
    (told,) = listed(site)
    assert (told["name"], told["display"], told["state"]) == ("jana", "Jana Test", "active")
    assert (told["must_change"], told["second_factor"], told["opened"]) == (False, False, False)


def test_no_secret_is_listed(site: Path) -> None:
    konzilium("account", "add", site, "jana")
    factor = shown(konzilium("account", "totp", site, "jana"))
    for text in (
        konzilium("account", "list", site).stdout,
        konzilium("account", "list", site, "--json").stdout,
    ):
        assert "argon2" not in text and factor not in text


def test_a_second_factor_comes_and_goes(site: Path) -> None:
    enter(site, "jana", shown(konzilium("account", "add", site, "jana")), new=GOOD)
    konzilium("account", "totp", site, "jana")
    with pytest.raises(SecondFactorNeeded):
        enter(site, "jana", GOOD)
    konzilium("account", "totp", site, "jana", "--off")
    assert enter(site, "jana", GOOD)


def test_a_locked_account_is_opened_by_a_reset(site: Path) -> None:
    enter(site, "jana", shown(konzilium("account", "add", site, "jana")), new=GOOD)
    assert "reset" in konzilium("account", "lock", site, "jana").stdout
    with pytest.raises(LoginRefused):
        enter(site, "jana", GOOD)
    first = shown(konzilium("account", "reset", site, "jana", "--second-factor"))
    assert enter(site, "jana", first, new=BETTER)


def test_an_account_that_is_removed_is_gone(site: Path) -> None:
    konzilium("account", "add", site, "jana")
    konzilium("account", "remove", site, "jana")
    assert listed(site) == []
    assert "seal one" in konzilium("account", "list", site).stdout


def test_the_sealed_account_may_run_the_node_and_is_granted_that_once(site: Path) -> None:
    first = shown(konzilium("account", "seal", site))
    second = shown(konzilium("account", "seal", site))
    with open_site(site) as opened:
        assert not opened.settings.login.local
        with pytest.raises(LoginRefused):
            opened.accounts.enter("administrator", first, address="192.0.2.7")
        opened.accounts.enter("administrator", second, address="192.0.2.7")
        (grant,) = opened.grants.all(opened.operator())
    assert (grant.name, grant.role, grant.issuer) == ("administrator@brno", "node administrator", "local")
    (told,) = listed(site)
    assert (told["state"], told["opened"]) == ("sealed", True)


@pytest.mark.parametrize("command", ["lock", "reset", "remove", "totp"])
def test_an_account_that_there_is_not_is_named(site: Path, command: str) -> None:
    said = konzilium("account", command, site, "nobody", code=Exit.FAILED)
    assert "no local account called nobody" in said.stderr


def test_a_name_that_cannot_be_one_is_refused(site: Path) -> None:
    assert "is not a valid" in konzilium("account", "add", site, "Jana T", code=Exit.USAGE).stderr
    assert "seal" in konzilium("account", "add", site, "administrator", code=Exit.FAILED).stderr


def test_a_device_is_said_to_name_its_people(site: Path) -> None:
    konzilium("device", "add", site, "CT1", "192.0.2.10", 104)
    konzilium("device", "add", site, "WARD", "192.0.2.30", 104, "--people", "required")
    told = json.loads(konzilium("device", "list", site, "--json").stdout)
    assert {one["ae_title"]: one["people"] for one in told} == {
        "CT1": Naming.OPTIONAL,
        "WARD": Naming.REQUIRED,
    }
    assert "required" in konzilium("device", "list", site).stdout
