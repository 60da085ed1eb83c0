"""`konzilium rebuild --from-peers`: how long it waits, what it remembers, and what it reports."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.domain.ids import Digest, InstanceUID, SiteId
from node.recovery.restore import Heard, Left, Missing, Recalled
from node.replication.reconcile import Reconciled
from services.cli import bringing, from_peers
from services.cli.bringing import Outcome, Times, wait
from services.cli.main import main
from services.cli.output import Exit

BRNO, PRAGUE = SiteId("brno"), SiteId("prague")


class Coming:
    """What is left, look after look; the last one again and again."""

    def __init__(self, *left: Left) -> None:
        self._left = list(left)
        self.looks = 0

    def left(self) -> Left:
        self.looks += 1
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "LOOK", 0.001)


def same(**said) -> Reconciled:
    told = {"site": BRNO, "peer": PRAGUE, "compared_at": 1, "count": 2, "fingerprint": "ab", "unproved": 0}
    return Reconciled(**(told | {"apart": 0, "differences": ()} | said))


def outcome(**said) -> Outcome:
    recalled = Recalled(epoch=2, facts=9, last_epoch=1, last_seq=7, last_at=1_700_000_000_000_000, unknown=1)
    whole = {"heard": [Heard(site=PRAGUE, facts=5)], "compared": {PRAGUE: same()}, "recalled": recalled}
    return Outcome(site=BRNO, **(whole | said))


def test_it_waits_until_nothing_more_is_to_be_had():
    coming = Coming(Left(objects=2, bytes=20), Left(objects=1, bytes=10), Left(unproved=1), Left())
    assert wait(coming, threading.Event(), patience=60) == Left()
    assert coming.looks >= 4 + bringing.CALM - 1


def test_what_everybody_was_asked_for_in_vain_is_not_waited_for():
    refused = Left(objects=3, bytes=30, refused=3)
    assert (
        wait(Coming(Left(objects=3, bytes=30, refused=1), refused), threading.Event(), patience=60) == refused
    )


def test_where_nothing_comes_it_waits_no_longer_than_it_was_told():
    stuck = Left(objects=3, bytes=30)
    assert wait(Coming(stuck), threading.Event(), patience=0.05) == stuck


def test_it_ends_when_it_is_stopped():
    stop = threading.Event()
    stop.set()
    assert wait(Coming(Left(objects=1)), stop, patience=60) is None


def test_times_go_on_where_an_earlier_run_was_broken_off(tmp_path: Path):
    first = Times.of(tmp_path)
    first.reached(tmp_path, "opened")
    again = Times.of(tmp_path)
    assert (again.started, again.opened) == (first.started, first.opened)
    again.reached(tmp_path, "opened")
    assert again.opened == first.opened
    assert again.after("whole") == 0


def test_times_that_cannot_be_read_begin_anew(tmp_path: Path):
    (tmp_path / "rebuild.json").write_text("[1, 2")
    assert Times.of(tmp_path).started > 0


@pytest.mark.parametrize(
    "said",
    [
        {"heard": [Heard(site=PRAGUE, error="it is suspended")]},
        {"compared": {PRAGUE: "it cannot be reached"}},
        {"compared": {PRAGUE: same(whole=False)}},
        {
            "missing": [
                Missing(instance=InstanceUID("1.2"), digest=Digest("ab" * 32), why="no site has a copy")
            ]
        },
    ],
)
def test_partial_success_is_not_called_whole(said):
    assert outcome().is_whole
    assert not outcome(**said).is_whole


def test_a_person_is_told_what_came_back_what_did_not_and_what_is_to_be_done(capsys):
    missing = [Missing(instance=InstanceUID("1.2"), digest=Digest("ab" * 32), why="no site has a copy")] * 21
    from_peers._tell(outcome(missing=missing, objects=4, bytes=4096, admitted=1))
    said = capsys.readouterr()
    assert "brno is back, in epoch 2, with 9 facts of its own" in said.out
    assert "number 7 of epoch 1" in said.out
    assert "4 objects (4.0 KiB) came back" in said.out
    assert "prague: 2 objects, the same, fingerprint ab" in said.out
    assert "konzilium device" in said.out
    assert said.err.count("instance 1.2 is not back: no site has a copy") == from_peers.NAMED
    assert "and 1 more" in said.err


def test_a_folder_that_is_none_is_not_made_without_an_invitation(tmp_path: Path):
    done = CliRunner().invoke(main, ["rebuild", str(tmp_path / "gone"), "--from-peers"])
    assert done.exit_code == Exit.MISCONFIGURED
    assert not (tmp_path / "gone").exists()


def test_an_invitation_is_no_use_without_peers(tmp_path: Path):
    done = CliRunner().invoke(main, ["rebuild", str(tmp_path), "--invitation", "kz1.x"])
    assert done.exit_code == Exit.FAILED
    assert "--from-peers" in done.output
