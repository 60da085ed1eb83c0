"""`python -m tests` leaves no test out, and fails where either half does."""

from __future__ import annotations

import pytest

from tests import __main__ as halves


def test_every_file_of_tests_is_in_one_half():
    told = [halves.ROOT / name for name in (*halves.FIRST, *halves.SECOND)]
    for path in (halves.ROOT / "tests").rglob("test_*.py"):
        assert sum(path == one or one in path.parents for one in told) == 1


@pytest.mark.parametrize(("codes", "code"), [((0, 0), 0), ((1, 0), 1), ((0, 1), 1), ((5, 0), 5)])
def test_the_suite_fails_where_either_half_does(codes, code, monkeypatch):
    first, second = codes
    monkeypatch.setattr(
        halves,
        "_command",
        lambda folders: ["sh", "-c", f"exit {first if folders == halves.FIRST else second}"],
    )
    assert halves.main() == code
