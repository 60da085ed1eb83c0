"""Names are found without regard to case and accents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.catalog.folding import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("NOVÁKOVÁ^Jana", "novakova^jana"),
        ("Novák", "novak"),
        ("Růžička^Šimon", "ruzicka^simon"),
        ("Straße", "strasse"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("山田^太郎", "山田^太郎"),
        ("", ""),
    ],
)
def test_a_name_is_folded_to_its_bare_letters(text, folded):
    assert fold(text) == folded


@given(st.text())
def test_folding_once_is_enough(text):
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_capital_letters_make_no_difference(text):
    assert fold(text.upper().lower()) == fold(fold(text.upper().lower()).upper().lower())


@given(st.text(alphabet="^=*?\\ ", max_size=5), st.text(max_size=5))
def test_delimiters_and_wildcards_stay(marks, text):
    assert sum(fold(text + marks).count(mark) for mark in "^*?\\") >= sum(
        marks.count(mark) for mark in "^*?\\"
    )
