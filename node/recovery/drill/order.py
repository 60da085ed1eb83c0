"""What is to be drilled, and on how much."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from node.domain.errors import Rejected

LONGEST_NAME: Final = 80


class Scenario(StrEnum):
    """What is taken to have happened."""

    BIT_ROT = "bit-rot"
    """Bytes are flipped, files are cut short or gone, rows are lost."""
    CORRUPT_CATALOG = "corrupt-catalog"
    """The catalog is lost; the bytes are here."""
    LOSE_DISK = "lose-disk"
    """The bytes are gone; the catalog is here."""
    LOSE_SITE = "lose-site"
    """Nothing is left but the key and the settings."""
    PARTITION = "partition"
    """Two sites cannot reach each other, and both go on working."""


TITLES: Final[Mapping[Scenario, str]] = {
    Scenario.BIT_ROT: "Some stored objects are damaged, missing or forgotten",
    Scenario.CORRUPT_CATALOG: "The catalog is lost, the stored objects are not",
    Scenario.LOSE_DISK: "The disk with the stored objects is lost, the catalog is not",
    Scenario.LOSE_SITE: "The whole site is lost, apart from its key and settings",
    Scenario.PARTITION: "Two sites are cut off from each other and go on working",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much the drill takes at the most."""

    objects: int = 1000
    megabytes: int = 1000
    everything: bool = False

    @property
    def bytes(self) -> int:
        """The same in bytes."""
        return self.megabytes * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One drill that is to be held."""

    scenario: Scenario
    seed: int
    """What is damaged and what is looked at follow from it."""
    bounds: Bounds = Bounds()
    name: str = ""
    """Of the report; one that says when is made if it is empty."""
    by: str = ""
    """Who asked for it, as `kind:name@site`; the one who holds it if it is empty."""

    def dice(self, what: str) -> random.Random:
        """Chance for one purpose: the same for the same seed."""
        return random.Random(f"{self.seed} {what}")  # noqa: S311 - it chooses a sample, no secret

    def told(self) -> dict[str, Any]:
        """The order as JSON tells it."""
        return asdict(self)


def read(told: Mapping[str, Any]) -> Order:
    """The order that `Order.told` told.

    Raises:
        Rejected: it is none.
    """
    try:
        bounds = Bounds(**told["bounds"])
        rest = {name: value for name, value in told.items() if name not in {"bounds", "scenario"}}
        return Order(scenario=Scenario(told["scenario"]), bounds=bounds, **rest)
    except (TypeError, KeyError, ValueError):
        raise Rejected("this is no order for a drill") from None
