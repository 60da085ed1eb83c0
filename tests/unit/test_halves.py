"""`python -m tests` leaves no test out, and fails where either half does."""

from __future__ import annotations

import pytest

from tests import __main__ as halves


def test_every_folder_of_tests_is_in_one_half():
    told = [*halves.SITES, *halves.PARTS]
    found = {path.relative_to(halves.ROOT).parts[1] for path in (halves.ROOT / "tests").rglob("test_*.py")}
    assert sorted(told) == sorted(f"tests/{name}" for name in found)


@pytest.mark.parametrize(("codes", "code"), [((0, 0), 0), ((1, 0), 1), ((0, 1), 1), ((5, 0), 5)])
def test_the_suite_fails_where_either_half_does(codes, code, monkeypatch):
    first, second = codes
    monkeypatch.setattr(
        halves,
        "_command",
        lambda folders: ["sh", "-c", f"exit {first if folders == halves.SITES else second}"],
    )
    assert halves.main() == code
