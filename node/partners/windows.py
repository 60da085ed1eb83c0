"""Windows: parts of a foreign archive that can be listed one after the other (PS3.4 C.2.2.2.5, C.2.2.2.4).

A partner that answers with too many studies at once, or cuts its answers off, is asked for smaller windows:
years, halves of them, days, hours, minutes. Studies without a date match no window of dates. They are in the
answer to a query for everything, which is asked last; where that is cut off, for the patients whose
identifiers begin with each letter and digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

FIRST_YEAR: Final = 2000
"""What is older is one window at first."""
LONGEST_PREFIX: Final = 2
"""Characters of a Patient ID by which what is not told otherwise is asked for."""
CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OLDEST, _LATEST = date(1895, 1, 1), date(2199, 12, 31)
_DAY: Final = 24 * 60
_ANY = "!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some of the studies of an archive: by date, by minutes of one day, or all of them."""

    first: date | None = None
    """None for everything, with and without a date."""
    last: date | None = None
    begin: int = 0
    """Minutes of the day, if `first` and `last` are one day."""
    end: int = _DAY
    """The first minute that is not meant."""
    prefix: str = ""
    """What Patient IDs begin with, if this is everything."""

    @property
    def is_everything(self) -> bool:
        """Whether it is asked for without a date."""
        return self.first is None

    @property
    def dates(self) -> str:
        """Study Date (0008,0020) as a key; empty for universal matching."""
        if self.first is None or self.last is None:
            return ""
        begin = "" if self.first == _OLDEST else f"{self.first:%Y%m%d}"
        end = "" if self.last == _LATEST else f"{self.last:%Y%m%d}"
        return begin if begin == end else f"{begin}-{end}"

    @property
    def times(self) -> str:
        """Study Time (0008,0030) as a key; empty for the whole day."""
        if (self.begin, self.end) == (0, _DAY):
            return ""
        last = self.end - 1
        return f"{self.begin // 60:02}{self.begin % 60:02}00-{last // 60:02}{last % 60:02}59.999999"

    @property
    def patients(self) -> str:
        """Patient ID (0010,0020) as a key; empty for universal matching."""
        return f"{self.prefix}*" if self.prefix else ""

    def parts(self) -> tuple[Self, ...]:
        """Smaller windows that together are this one; none where there are no smaller ones."""
        if self.first is None or self.last is None:
            if len(self.prefix) >= LONGEST_PREFIX:
                return ()
            return tuple(type(self)(prefix=self.prefix + letter) for letter in CHARACTERS)
        if self.first < self.last:
            middle = self.first + (self.last - self.first) // 2
            return self._days(self.first, middle), self._days(middle + timedelta(days=1), self.last)
        if self.end - self.begin > 1:
            noon = (self.begin + self.end) // 2
            return self._minutes(self.begin, noon), self._minutes(noon, self.end)
        return ()

    def __str__(self) -> str:
        """As it is kept; `read` reads it. What is asked for first sorts last."""
        if self.first is None:
            return _ANY + self.prefix
        return " ".join(part for part in (self.dates, self.times) if part)

    @classmethod
    def read(cls, text: str) -> Self:
        """The window of a text that was written by `str`."""
        if text.startswith(_ANY):
            return cls(prefix=text.removeprefix(_ANY))
        dates, _, times = text.partition(" ")
        begin, dash, end = dates.partition("-")
        first = _day(begin) or _OLDEST
        last = (_day(end) or _LATEST) if dash else first
        if not times:
            return cls(first=first, last=last)
        return cls(
            first=first,
            last=last,
            begin=int(times[:2]) * 60 + int(times[2:4]),
            end=int(times[7:9]) * 60 + int(times[9:11]) + 1,
        )

    def _days(self, first: date, last: date) -> Self:
        return type(self)(first=first, last=last)

    def _minutes(self, begin: int, end: int) -> Self:
        return type(self)(first=self.first, last=self.last, begin=begin, end=end)


def _day(text: str) -> date | None:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if text else None


def windows(today: date, since: date | None = None) -> list[Window]:
    """The windows with which a listing begins: the years from now on backwards, what is older, everything.

    Args:
        today: the date.
        since: nothing before this date, and nothing without one.
    """
    start = since or date(FIRST_YEAR, 1, 1)
    future = Window(first=max(date(today.year + 1, 1, 1), start), last=_LATEST)
    years = [
        Window(first=max(date(year, 1, 1), start), last=date(year, 12, 31))
        for year in range(today.year, start.year - 1, -1)
    ]
    if since is not None:
        return [future, *years]
    return [future, *years, Window(first=_OLDEST, last=date(FIRST_YEAR - 1, 12, 31)), Window()]
