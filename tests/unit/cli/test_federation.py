"""The commands about other sites: what they do, what they say, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.catalog.journal import Journal
from node.domain.member import Standing
from node.identity.members import derive_members
from node.journal.entry import FEDERATION
from node.wiring import open_site
from services.cli.main import main
from services.cli.output import Exit
from tests.support.neighbours import made, serving


def konzilium(*words: object, typed: str = "") -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*words: object, code: Exit = Exit.FINE, typed: str = "") -> str:
    result = konzilium(*words, typed=typed)
    assert result.exit_code == code, result.output
    return result.output


def said(*words: object, code: Exit = Exit.FINE):
    return json.loads(konzilium_json(*words, code=code))


def konzilium_json(*words: object, code: Exit) -> str:
    result = konzilium(*words, "--json")
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def brno(tmp_path: Path) -> Iterator[Path]:
    """Brno, whose node runs."""
    directory = made(tmp_path, "brno")
    with serving(directory):
        yield directory


@pytest.fixture
def prague(tmp_path: Path) -> Path:
    return made(tmp_path, "prague")


@pytest.fixture
def pair(brno: Path, prague: Path) -> tuple[Path, Path]:
    invite(brno, prague, "--yes")
    return brno, prague


def invite(inviter: Path, joiner: Path, *options: str) -> str:
    """Invite and join; what `join` said."""
    made_out = said("invite", inviter, "--site", joiner.name, "--no-wait", *options)
    return done("join", joiner, made_out["token"], "--code", made_out["code"], "--yes")


def hear(listener: Path, *others: Path) -> None:
    """Let a site read what the others say of members."""
    for other in others:
        with open_site(other) as site, site.catalog.reading() as unit:
            told = [fact for fact in unit.journal.after(0) if fact.kind in FEDERATION]
        with open_site(listener) as site, site.catalog.begin() as unit:
            journal: Journal = unit.journal
            for fact in told:
                journal.keep(fact)
            derive_members(unit)


def standing(directory: Path, name: str) -> str:
    with open_site(directory) as site:
        return next(str(one.standing) for one in site.members.all() if one.site == name)


# invite and join


def test_two_commands_and_a_confirmation_make_two_sites_members(brno, prague):
    output = done("invite", brno, "--site", "prague", "--no-wait")
    assert "konzilium join DIR TOKEN" in output
    token = next(line for line in output.splitlines() if line.startswith("kz1."))
    code = next(line for line in output.splitlines() if "over the phone" in line).split()[-1]
    output = done("join", prague, token, typed=f"y\n{code}\n")
    assert "somebody there still has to confirm it" in output
    assert standing(brno, "prague") == Standing.WAITING
    assert "konzilium confirm" in done("peers", brno, code=Exit.ATTENTION)
    assert "prague is a member" in done("confirm", brno, "prague", typed="y\n")
    assert (standing(brno, "prague"), standing(prague, "brno")) == ("active", "active")
    done("peers", brno)


def test_an_invitation_that_is_confirmed_in_advance_needs_no_more_words(brno, prague):
    assert "members of one federation now" in invite(brno, prague, "--yes")
    assert standing(brno, "prague") == "active"


def test_a_wrong_code_lets_nobody_in(brno, prague):
    made_out = said("invite", brno, "--site", "prague", "--no-wait")
    wrong = "0000-0000" if made_out["code"] != "0000-0000" else "1111-1111"
    output = done("join", prague, made_out["token"], "--code", wrong, "--yes", code=Exit.FAILED)
    assert "4 attempts are left" in output
    assert "eight digits" in done(
        "join", prague, made_out["token"], "--code", "dunno", "--yes", code=Exit.FAILED
    )
    assert said("peers", prague)["peers"] == []


def test_somebody_who_does_not_recognise_the_fingerprint_stays_out(brno, prague):
    made_out = said("invite", brno, "--site", "prague", "--no-wait")
    done("join", prague, made_out["token"], typed="n\n", code=Exit.FAILED)
    assert said("peers", prague)["peers"] == []


def test_a_token_that_was_cut_short_is_named_so(prague):
    assert "paste all of it" in done("join", prague, "kz1.eyJm", "--yes", code=Exit.FAILED)


def test_an_inviter_that_does_not_answer_can_be_tried_again_later(tmp_path, prague):
    silent = made(tmp_path, "silent")
    made_out = said("invite", silent, "--site", "prague", "--no-wait")
    output = done("join", prague, made_out["token"], "--code", made_out["code"], "--yes", code=Exit.LATER)
    assert "silent cannot be reached" in output


def test_another_node_at_the_address_of_the_inviter_is_found_out(tmp_path, brno, prague):
    other = made(tmp_path, "other")
    with open_site(brno) as site:
        url = site.home.url
    made_out = said("invite", other, "--site", "prague", "--no-wait", "--url", url)
    output = done("join", prague, made_out["token"], "--code", made_out["code"], "--yes", code=Exit.LATER)
    assert "another certificate answers" in output


def test_an_address_that_is_none_is_refused(brno):
    assert "https://HOST:PORT" in done(
        "invite", brno, "--site", "prague", "--url", "http://x", code=Exit.USAGE
    )


def test_a_third_site_needs_one_invitation_and_no_file_to_be_edited(brno, prague, tmp_path):
    invite(brno, prague, "--yes")
    ostrava = made(tmp_path, "ostrava")
    output = invite(brno, ostrava, "--yes")
    assert "brno introduces prague" in output
    hear(prague, brno)
    assert standing(prague, "ostrava") == standing(ostrava, "prague") == "active"
    needs = said("peers", prague, code=Exit.ATTENTION)["attention"]
    assert any("konzilium consent" in need for need in needs)


def test_waiting_ends_when_the_other_site_has_joined(brno, prague, monkeypatch):
    with ExitStack() as stack:
        monkeypatch.setattr("services.cli.federation.invite.time.sleep", lambda _: stack.close())
        seen: dict[str, str] = {}
        monkeypatch.setattr(
            "services.cli.federation.invite.tell",
            lambda invited, *_, **__: seen.update(token=str(invited.token), code=invited.code),
        )
        stack.callback(lambda: done("join", prague, seen["token"], "--code", seen["code"], "--yes"))
        output = done("invite", brno, "--site", "prague", "--wait")
    assert "prague has joined" in output
    assert "konzilium confirm" in output


# decisions


def test_terms_are_said_when_inviting_or_later(brno, prague):
    invite(brno, prague, "--yes", "--export", "modality=CT,MR younger-than=365", "--accept", "nothing")
    found = said("peers", brno)["peers"][0]
    assert (found["export"], found["accept"]) == ("modality CT,MR, younger than 365 days", "nothing")
    output = done("consent", brno, "prague", "--export", "from=CT1 body-part=HEAD", "--export", "modality=US")
    assert "from CT1, body part HEAD; modality US" in output
    assert "everything" in done("consent", brno, "prague", "--accept", "everything")


@pytest.mark.parametrize(
    "words", ["colour=red", "modality", "modality=", "younger-than=soon", "", "everything nothing"]
)
def test_terms_that_mean_nothing_are_refused(brno, words):
    done("consent", brno, "prague", "--export", words, code=Exit.USAGE)


def test_consent_to_nothing_in_particular_is_a_wrong_usage(brno):
    assert "--export" in done("consent", brno, "prague", code=Exit.USAGE)


def test_the_link_is_cut_and_resumed_by_a_command(pair):
    brno, prague = pair
    with serving(prague):
        assert "could not be told" not in done("suspend", brno, "prague", "--reason", "maintenance")
        found = said("peers", prague, code=Exit.ATTENTION)
        assert found["peers"][0]["error"] == "brno has cut the link: maintenance"
        assert said("peers", brno, code=Exit.ATTENTION)["peers"][0]["standing"] == "suspended"
        assert "active" in done("resume", brno, "prague")
        assert said("peers", prague)["peers"][0]["error"] == ""


def test_a_member_that_cannot_be_told_is_named_and_the_decision_holds(pair):
    brno, _ = pair
    assert "prague could not be told" in done("suspend", brno, "prague")
    assert standing(brno, "prague") == "suspended"


def test_a_revoked_site_is_refused_from_that_moment_on(pair):
    brno, prague = pair
    done("revoke", brno, "prague", "--reason", "stolen", typed="n\n", code=Exit.FAILED)
    done("revoke", brno, "prague", "--reason", "stolen", typed="y\n")
    assert "brno could not be told" in done("consent", prague, "brno", "--export", "nothing")
    assert said("peers", brno)["peers"][0]["standing"] == "revoked"


def test_the_others_hear_it_when_a_site_leaves(pair):
    brno, prague = pair
    assert "could not be told" not in done("leave", prague, "--reason", "closed", "--yes")
    assert standing(brno, "prague") == "left"
    done("peers", brno)
    assert "has left the federation" in done("resume", prague, "brno", code=Exit.FAILED)
    with serving(prague):
        made_out = said("invite", prague, "--site", "brno", "--no-wait", "--yes")
        done("join", brno, made_out["token"], "--code", made_out["code"], "--yes")
    assert (standing(brno, "prague"), standing(prague, "brno")) == ("active", "active")


def test_terms_are_told_to_the_other_site(pair):
    brno, prague = pair
    assert "could not be told" not in done("consent", prague, "brno", "--export", "modality=CT")
    assert said("peers", brno)["peers"][0]["gives"] == "modality CT"


def test_decisions_about_sites_that_nobody_knows_are_refused(brno):
    for command in ("confirm", "suspend", "resume", "consent"):
        options = ["--export", "nothing"] if command == "consent" else []
        assert "No site called liberec" in done(command, brno, "liberec", *options, code=Exit.FAILED)
    assert "No site called liberec" in done("revoke", brno, "liberec", "--yes", code=Exit.FAILED)


# peers and keys


def test_a_site_alone_says_how_to_find_others(prague):
    assert "konzilium invite" in done("peers", prague)


def test_peers_shows_open_invitations_and_what_is_exchanged(brno, prague):
    said("invite", brno, "--site", "ostrava", "--no-wait")
    invite(brno, prague, "--yes")
    output = done("peers", brno)
    assert "Invitation   for ostrava until" in output
    assert "everything" in output
    hear(brno, prague)
    assert "there:" not in done("peers", brno)


def test_a_key_is_announced_then_put_to_use(pair):
    brno, _ = pair
    assert "announced" in done("rotate", brno)
    found = said("peers", brno)
    assert (found["key_change"], found["unaware"]) == ("announced", ["prague"])
    assert "not known yet to prague" in done("rotate", brno, "--finish", code=Exit.FAILED)
    assert "in use" in done("rotate", brno, "--finish", "--insist")
    assert said("peers", brno)["key_change"] == "switched"
