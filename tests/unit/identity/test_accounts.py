"""Local accounts: who gets in, who waits, what a password has to be, and the seal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from node.audit.record import Deed, Event, read
from node.domain.account import FREE_FAILURES, LONGEST_WAIT, AccountName, AccountState, wait_after
from node.domain.errors import (
    Forbidden,
    LoginRefused,
    NodeError,
    PasswordChange,
    PasswordRefused,
    Rejected,
    SecondFactorNeeded,
    TooBusy,
    UnknownAccount,
)
from node.domain.grant import Grant, GrantState
from node.domain.principal import Kind, Principal
from node.identity import passwords, totp
from node.identity.account_book import AccountBook
from node.identity.accounts import PROVED, Accounts
from node.identity.gate import Gate
from node.identity.grants import Grants
from node.identity.persons import of_account
from tests.support.sites import BRNO, OPERATOR, TestSite, site

GOOD = "seven lanterns over the quay"
BETTER = "no otter reads a timetable"
HERE = "192.0.2.7"
JANA = AccountName("jana")


@dataclass
class Desk:
    """A site with its accounts, and the clock of its processes."""

    site: TestSite
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.book = AccountBook(self.site.catalog, BRNO)
        self.accounts = self.door()

    def door(self, *, local: bool = True, mfa: bool = False) -> Accounts:
        return Accounts(self.site.catalog, BRNO, local=local, mfa=mfa, monotonic=lambda: self.seconds)

    def forward(self, seconds: float) -> None:
        self.seconds += seconds
        self.site.clock.forward(seconds)

    def jana(self, password: str = GOOD) -> str:
        """An account whose password was changed already."""
        first = self.book.add(OPERATOR, JANA, display="Jana Test")
        self.accounts.enter("jana", first, new=password, address=HERE)
        return password

    def deeds(self) -> list[Deed]:
        with self.site.catalog.reading() as unit:
            return [read(record.deed) for record in unit.audit.after()]

    def code(self, secret: str) -> str:
        return totp.code_at(secret, self.site.clock.now)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with site() as made:
        yield Desk(made)


def test_the_right_password_names_the_person(desk: Desk) -> None:
    person = desk.accounts.enter(" Jana ", desk.jana(), address=HERE)
    assert (person.kind, person.name, person.issuer) == (Kind.PERSON, "jana@brno", "local")
    assert (person.display, person.address, person.mfa) == ("Jana Test", HERE, False)


def test_a_new_account_is_good_for_a_new_password_only(desk: Desk) -> None:
    first = desk.book.add(OPERATOR, JANA)
    with pytest.raises(PasswordChange):
        desk.accounts.enter("jana", first, address=HERE)
    with pytest.raises(PasswordChange):
        desk.accounts.at_device("jana", first, device="VIEWER", address=HERE)
    with pytest.raises(PasswordRefused):
        desk.accounts.enter("jana", first, new=first, address=HERE)
    assert desk.accounts.enter("jana", first, new=GOOD, address=HERE).name == "jana@brno"
    assert desk.accounts.enter("jana", GOOD, address=HERE).name == "jana@brno"
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", first, address=HERE)


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "x" * 257,
        "password1234",
        "qwertyuiop1234",
        "aaaaaaaaaaaaaaaaaaaa",
        "konziliumbrno",
        "jana12345678",
        "bell\x07" * 4,
    ],
)
def test_a_password_that_others_guess_is_refused(desk: Desk, password: str) -> None:
    first = desk.book.add(OPERATOR, JANA)
    with pytest.raises(PasswordRefused) as refused:
        desk.accounts.enter("jana", first, new=password, address=HERE)
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", [GOOD, "ř" * 3 + "šč žluť kůň úpěl", "x7" * 5 + "ohKa" * 61])
def test_a_good_password_may_be_long_and_in_any_script(password: str) -> None:
    passwords.demand_good(password)
    assert passwords.matches(passwords.hashed(password), password)


def test_the_same_letters_from_another_keyboard_are_the_same_password() -> None:
    composed, decomposed = (
        "pří\u0161ern\u011b dlouh\u00e9 heslo",
        "pří\u0073\u030cerne\u030c dlouhe\u0301 heslo",
    )
    assert passwords.matches(passwords.hashed(composed), decomposed)


def test_what_is_kept_of_a_password_is_argon2id_with_19_mib(desk: Desk) -> None:
    desk.jana()
    (kept,) = desk.site.rows("SELECT hash FROM account")
    assert kept[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("name", ["jana", "nobody", "not a name", "", "x" * 5000, "administrator"])
def test_what_is_wrong_is_not_said(desk: Desk, name: str) -> None:
    desk.jana()
    with pytest.raises(LoginRefused) as refused:
        desk.accounts.enter(name, "wrong wrong wrong", address=HERE)
    assert "the name or the password is wrong" in str(refused.value)
    assert "wrong wrong" not in str(refused.value)


@pytest.mark.parametrize("name", ["jana", "nobody"])
def test_whoever_fails_again_and_again_waits_whether_there_is_such_an_account_or_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    desk.jana()
    judged: list[str] = []
    real = passwords.matches
    monkeypatch.setattr(passwords, "matches", lambda kept, said: judged.append(said) or real(kept, said))
    for _ in range(FREE_FAILURES + 6):
        with pytest.raises(LoginRefused):
            desk.accounts.enter(name, "wrong wrong wrong", address=HERE)
    assert len(judged) == FREE_FAILURES + 1
    desk.forward(11)
    with pytest.raises(LoginRefused):
        desk.accounts.enter(name, "wrong wrong wrong", address=HERE)
    assert len(judged) == FREE_FAILURES + 2


def test_the_right_password_does_not_help_before_the_wait_is_over(desk: Desk) -> None:
    desk.jana()
    for _ in range(FREE_FAILURES + 1):
        with pytest.raises(LoginRefused):
            desk.accounts.enter("jana", "wrong wrong wrong", address=HERE)
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", GOOD, address="192.0.2.8")
    desk.forward(11)
    assert desk.accounts.enter("jana", GOOD, address=HERE)
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", "wrong wrong wrong", address=HERE)
    assert desk.accounts.enter("jana", GOOD, address=HERE)


def test_waits_double_up_to_a_quarter_of_an_hour() -> None:
    waits = [wait_after(many) for many in range(1, 30)]
    assert waits[:FREE_FAILURES] == [0] * FREE_FAILURES
    assert waits == sorted(waits) and waits[-1] == LONGEST_WAIT


def test_many_guesses_at_once_are_many_guesses(desk: Desk) -> None:
    desk.jana()
    judged: list[int] = []
    with ThreadPoolExecutor(12) as pool:

        def guess(number: int) -> None:
            with pytest.raises(LoginRefused):
                desk.accounts.enter("jana", f"wrong wrong {number}", address=f"192.0.2.{number}")
            judged.append(number)

        list(pool.map(guess, range(12)))
    (row,) = desk.site.rows("SELECT failures FROM account")
    assert len(judged) == 12
    assert row[0] == FREE_FAILURES + 1


def test_an_address_from_which_many_names_are_tried_waits(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.jana()
    monkeypatch.setattr(passwords, "waste", lambda said: None)
    for number in range(31):
        with pytest.raises(LoginRefused):
            desk.accounts.enter(f"guess{number}", "wrong wrong wrong", address="198.51.100.1")
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", GOOD, address="198.51.100.1")
    assert desk.accounts.enter("jana", GOOD, address=HERE)


def test_no_more_than_two_passwords_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PATIENCE", 0.01)
    entered, leave = threading.Semaphore(0), threading.Event()

    class Slow:
        def hash(self, said: str) -> str:
            entered.release()
            leave.wait(20)
            return said

    monkeypatch.setattr(passwords, "_argon2", Slow())
    with ThreadPoolExecutor(passwords.AT_ONCE) as pool:
        busy = [pool.submit(passwords.hashed, "one") for _ in range(passwords.AT_ONCE)]
        for _ in busy:
            assert entered.acquire(timeout=20)
        with pytest.raises(TooBusy):
            passwords.hashed("three")
        leave.set()
    assert passwords.hashed("four") == "four"


def test_a_second_factor_is_asked_for_and_proved(desk: Desk) -> None:
    desk.jana()
    factor = desk.book.add_factor(OPERATOR, "jana")
    assert factor.address.startswith("otpauth://totp/") and factor.secret in factor.address
    with pytest.raises(SecondFactorNeeded):
        desk.accounts.enter("jana", GOOD, address=HERE)
    assert desk.accounts.enter("jana", GOOD, desk.code(factor.secret), address=HERE).mfa


def test_a_code_is_good_once(desk: Desk) -> None:
    desk.jana()
    secret = desk.book.add_factor(OPERATOR, "jana").secret
    code = desk.code(secret)
    desk.accounts.enter("jana", GOOD, code, address=HERE)
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", GOOD, code, address=HERE)
    desk.forward(totp.STEP)
    assert desk.accounts.enter("jana", GOOD, desk.code(secret), address=HERE)


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_an_authenticator_may_be_a_step_early_or_late(desk: Desk, steps: int, good: bool) -> None:
    secret = totp.new_secret()
    code = totp.code_at(secret, desk.site.clock.now + steps * totp.STEP * 1_000_000)
    assert (totp.step_of(secret, f"{code[:3]} {code[3:]}", desk.site.clock.now, used=0) is not None) is good


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "\uff11" * 6, "-12345"])
def test_what_is_no_code_is_no_code(code: str) -> None:
    assert totp.step_of(totp.new_secret(), code, 1_700_000_000_000_000, used=0) is None


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238 appendix B, the last six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert totp.code_at(secret, 59_000_000) == "287082"
    assert totp.code_at(secret, 1_111_111_109_000_000) == "081804"


def test_wrong_codes_make_an_account_wait_too(desk: Desk) -> None:
    desk.jana()
    secret = desk.book.add_factor(OPERATOR, "jana").secret
    for _ in range(FREE_FAILURES + 1):
        with pytest.raises(LoginRefused):
            desk.accounts.enter("jana", GOOD, "000000", address=HERE)
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", GOOD, desk.code(secret), address=HERE)


def test_where_a_second_factor_is_demanded_an_account_without_one_stays_out(desk: Desk) -> None:
    desk.jana()
    with pytest.raises(SecondFactorNeeded, match="konzilium account totp"):
        desk.door(mfa=True).enter("jana", GOOD, address=HERE)


def test_where_local_accounts_are_off_the_sealed_one_still_opens(desk: Desk) -> None:
    desk.jana()
    password = desk.book.seal(OPERATOR)
    shut = desk.door(local=False, mfa=True)
    for name in ("jana", "nobody"):
        with pytest.raises(LoginRefused, match="not used at this site"):
            shut.enter(name, GOOD, address=HERE)
    assert shut.enter("administrator", password, address=HERE).name == "administrator@brno"


def test_a_broken_seal_is_told_until_it_is_sealed_again(desk: Desk) -> None:
    def opened() -> bool:
        (account,) = desk.book.all(OPERATOR)
        return account.is_opened

    first = desk.book.seal(OPERATOR)
    assert not opened()
    desk.accounts.enter("administrator", first, address=HERE)
    assert opened()
    second = desk.book.seal(OPERATOR)
    assert not opened()
    with pytest.raises(LoginRefused):
        desk.accounts.enter("administrator", first, address=HERE)
    assert desk.accounts.enter("administrator", second, address=HERE)


def test_the_sealed_account_is_for_the_portal_and_the_machine_alone(desk: Desk) -> None:
    password = desk.book.seal(OPERATOR)
    with pytest.raises(LoginRefused):
        desk.accounts.at_device("administrator", password, device="VIEWER", address=HERE)
    with pytest.raises(PasswordRefused):
        desk.accounts.enter("administrator", password, new=GOOD, address=HERE)
    with pytest.raises(Rejected, match="seal"):
        desk.book.reset(OPERATOR, "administrator")
    with pytest.raises(Rejected, match="seal"):
        desk.book.add(OPERATOR, AccountName("administrator"))
    grants = Grants(desk.site.catalog)
    grants.give(OPERATOR, Grant(issuer="local", name="jana@brno", role="node administrator"))
    with pytest.raises(Forbidden):
        desk.book.seal(of_account("jana", BRNO))


def test_a_locked_account_stays_shut_until_it_is_reset(desk: Desk) -> None:
    desk.jana()
    desk.book.lock(OPERATOR, "jana")
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", GOOD, address=HERE)
    first = desk.book.reset(OPERATOR, "jana")
    assert desk.accounts.enter("jana", first, new=BETTER, address=HERE)
    with pytest.raises(UnknownAccount):
        desk.book.lock(OPERATOR, "nobody")


def test_what_a_device_has_proved_holds_for_a_while(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.jana()
    hashed: list[str] = []
    real = passwords.matches
    monkeypatch.setattr(passwords, "matches", lambda kept, said: hashed.append(said) or real(kept, said))
    for _ in range(3):
        assert desk.accounts.at_device("jana", GOOD, device="VIEWER", address=HERE).name == "jana@brno"
    assert len(hashed) == 1
    desk.accounts.at_device("jana", GOOD, device="OTHER", address=HERE)
    desk.accounts.at_device("jana", GOOD, device="VIEWER", address="192.0.2.8")
    with pytest.raises(LoginRefused):
        desk.accounts.at_device("jana", "wrong wrong wrong", device="VIEWER", address=HERE)
    assert len(hashed) == 4
    desk.forward(PROVED + 1)
    desk.accounts.at_device("jana", GOOD, device="VIEWER", address=HERE)
    assert len(hashed) == 5
    desk.book.lock(OPERATOR, "jana")
    with pytest.raises(LoginRefused):
        desk.accounts.at_device("jana", GOOD, device="VIEWER", address=HERE)


def test_at_a_device_the_code_comes_behind_the_password(desk: Desk) -> None:
    desk.jana()
    secret = desk.book.add_factor(OPERATOR, "jana").secret
    with pytest.raises(NodeError):
        desk.accounts.at_device("jana", GOOD, device="VIEWER", address=HERE)
    shown = f"{GOOD} {desk.code(secret)}"
    assert desk.accounts.at_device("jana", shown, device="VIEWER", address=HERE).mfa
    assert desk.accounts.at_device("jana", shown, device="VIEWER", address=HERE).mfa
    with pytest.raises(LoginRefused):
        desk.accounts.at_device("jana", shown, device="OTHER", address=HERE)


def test_only_who_may_grant_roles_keeps_the_book(desk: Desk) -> None:
    desk.jana()
    someone = replace(of_account("jana", BRNO), roles=frozenset({"node administrator"}))
    for attempt in (
        lambda: desk.book.add(someone, AccountName("petr")),
        lambda: desk.book.reset(someone, "jana"),
        lambda: desk.book.remove(someone, "jana"),
        lambda: desk.book.all(Principal(kind=Kind.DEVICE, name="CT1", site=BRNO)),
    ):
        with pytest.raises(Forbidden):
            attempt()
    assert desk.deeds()[-1].refused
    Grants(desk.site.catalog).give(
        OPERATOR, Grant(issuer="local", name="jana@brno", role="node administrator")
    )
    assert desk.book.add(someone, AccountName("petr"))


def test_what_is_open_by_an_account_is_worth_nothing_once_it_is_locked(desk: Desk) -> None:
    """A session or an association that was begun before; the next call finds no role."""
    desk.jana()
    Grants(desk.site.catalog).give(OPERATOR, Grant(issuer="local", name="jana@brno", role="radiologist"))
    person, gate = of_account("jana", BRNO), Gate(desk.site.catalog)
    assert gate.known(person).roles == {"radiologist"}
    desk.book.lock(OPERATOR, "jana")
    assert gate.known(person).roles == frozenset()
    desk.book.reset(OPERATOR, "jana")
    assert gate.known(person).roles == {"radiologist"}


def test_an_account_that_goes_takes_its_roles_along(desk: Desk) -> None:
    desk.jana()
    grants = Grants(desk.site.catalog)
    grants.give(OPERATOR, Grant(issuer="local", name="jana@brno", role="radiologist"))
    desk.book.remove(OPERATOR, "jana")
    (ended,) = grants.all(OPERATOR, ended=True)
    assert ended.state is GrantState.ENDED
    with pytest.raises(LoginRefused):
        desk.accounts.enter("jana", GOOD, address=HERE)


def test_what_is_done_with_accounts_is_recorded_without_secrets(desk: Desk) -> None:
    first = desk.book.add(OPERATOR, JANA)
    desk.accounts.enter("jana", first, new=GOOD, address=HERE)
    secret = desk.book.add_factor(OPERATOR, "jana").secret
    sealed = desk.book.seal(OPERATOR)
    deeds = desk.deeds()
    assert {deed.event for deed in deeds} == {Event.CONFIGURED}
    assert [deed.what for deed in deeds] == [
        "made account jana",
        "changed the password of the own account",
        "gave account jana a second factor",
        "sealed account administrator",
    ]
    assert not any(hidden in str(deeds) for hidden in (first, GOOD, secret, sealed))


def test_a_name_is_recorded_only_if_it_is_one(desk: Desk) -> None:
    """Somebody has typed the password where the name belongs."""
    desk.jana()
    assert desk.accounts.named(" Jana ") == "jana@brno"
    assert desk.accounts.named(GOOD) == ""


def test_a_generated_password_is_one_that_can_be_used() -> None:
    made = {passwords.generated() for _ in range(20)}
    assert len(made) == 20
    for one in made:
        passwords.demand_good(one)


def test_the_states_of_an_account_are_those_that_are_drawn() -> None:
    assert set(AccountState) == {"active", "locked", "sealed"}
