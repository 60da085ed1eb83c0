"""Values that persons give are those that the standard allows, and are never told when they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.archive.values import checked
from node.catalog.attributes import ATTRIBUTES
from node.catalog.corrections import CORRECTABLE
from node.domain.errors import MalformedValue
from node.domain.query import Level

NAME, DATE, TIME, ACCESSION, DESCRIPTION = 0x00100010, 0x00080020, 0x00080030, 0x00080050, 0x00081030
SEX, COMMENTS, READERS, AGE, WEIGHT = 0x00100040, 0x00104000, 0x00081060, 0x00101010, 0x00101030
GOOD = [
    (NAME, "Nováková^Jana^^MUDr."), (NAME, "YAMADA^TARO=山田^太郎=やまだ^たろう"), (NAME, ""),
    (DATE, "20240229"),
    (TIME, "09"), (TIME, "0915"), (TIME, "091500"), (TIME, "091500.123456"), (TIME, "235960"),
    (ACCESSION, "A" * 16), (DESCRIPTION, "ž" * 64), (SEX, "O"), (COMMENTS, "two\r\nlines \\ here"),
    (READERS, "A^B\\C^D"), (AGE, "042Y"), (WEIGHT, "72.5"), (WEIGHT, "-1.5e3"),
]  # fmt: skip
BAD = [
    (NAME, "a=b=c=d"), (NAME, "a^b^c^d^e^f"), (NAME, "x" * 65), (NAME, "a\\b"), (NAME, "a\nb"),
    (DATE, "20230229"), (DATE, "2023-01-01"),
    (DATE, "20230101-20230201"), (DATE, "\uff12\uff10\uff12\uff13\uff10\uff11\uff10\uff11"),
    (TIME, "9"), (TIME, "2400"), (TIME, "09:15"), (TIME, "091501."), (ACCESSION, "A" * 17),
    (DESCRIPTION, "x" * 65), (DESCRIPTION, "a\\b"), (DESCRIPTION, "\x1b$B"), (SEX, "X"), (SEX, "f"),
    (COMMENTS, "x" * 10241), (COMMENTS, "a\x00b"), (COMMENTS, "\udc80"), (NAME, "\ud800"),
    (AGE, "42"), (WEIGHT, "heavy"), (WEIGHT, "1" * 17),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "value"), GOOD)
def test_a_value_that_is_allowed_stays(tag, value):
    assert checked(ATTRIBUTES[tag], value) == value


@pytest.mark.parametrize(("tag", "value"), BAD)
def test_a_value_that_is_not_allowed_is_refused_and_not_told(tag, value):
    with pytest.raises(MalformedValue) as error:
        checked(ATTRIBUTES[tag], value)
    assert f"({tag >> 16:04X},{tag & 0xFFFF:04X})" in str(error.value)
    assert len(value) < 6 or value not in str(error.value)


def test_padding_is_taken_off():
    assert checked(ATTRIBUTES[READERS], " A^B \\ C ") == "A^B\\C"


@given(st.sampled_from([*CORRECTABLE[Level.PATIENT].values(), *CORRECTABLE[Level.STUDY].values()]), st.text())
def test_every_text_is_checked_for_every_attribute_that_can_be_corrected(attribute, text):
    try:
        value = checked(attribute, text)
    except MalformedValue:
        return
    assert checked(attribute, value) == value
