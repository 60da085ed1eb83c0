"""The identity providers that this site believes now: found by entity ID, searched for by people.

Whatever a source told counts until that source says, and no longer: when metadata cannot be refreshed, logins
go on with the last good ones until these end, and then fail closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from node.catalog.catalog import Catalog
from node.catalog.folding import fold
from node.catalog.providers import ProviderRow
from node.domain.clock import Clock
from node.domain.errors import UnknownProvider
from node.identity.providers.descriptor import Provider, read_provider

SINGLE: Final = "single"
"""One identity provider, that an administrator of this site vouched for."""
MDQ: Final = "mdq"
"""A service that is asked for one identity provider at a time (Metadata Query Protocol)."""
AGGREGATE: Final = "aggregate"
"""A signed list of many, as federations publish it."""
KINDS: Final = (SINGLE, MDQ, AGGREGATE)
"""What counts first where several sources tell of the same identity provider."""
MANY: Final = 50
LONGEST_TEXT: Final = 100
"""Letters that are searched for."""
LONGEST_ENTITY: Final = 1024
"""Characters of an entity ID (SAML Core §8.3.6)."""
_MOST: Final = 20_000
_WELL_BEGUN = 500

Ask = Callable[[str], None]
"""Looks for an identity provider where one can be asked for, and writes what is told of it."""


class Providers:
    """The identity providers that may be believed now."""

    def __init__(
        self, catalog: Catalog, clock: Clock, *, demonstration: bool = False, ask: Ask | None = None
    ) -> None:
        """The identity providers of a site.

        Args:
            catalog: what its sources told.
            clock: says the time.
            demonstration: whether demonstration identity providers are believed.
            ask: asks for those that are not known yet.
        """
        self._catalog = catalog
        self._clock = clock
        self._demonstration = demonstration
        self._ask = ask

    def find(self, entity: str) -> Provider:
        """The identity provider of that entity ID.

        Raises:
            UnknownProvider: no source that may be believed now tells of it.
        """
        found = self._known(entity)
        if found is None and self._ask is not None and 0 < len(entity) <= LONGEST_ENTITY:
            self._ask(entity)
            found = self._known(entity)
        if found is None:
            raise UnknownProvider(entity[:LONGEST_ENTITY])
        return found

    def knows(self, entity: str) -> bool:
        """Whether it may be believed now, without asking anybody."""
        return self._known(entity) is not None

    def search(self, text: str, language: str = "en", many: int = MANY) -> Sequence[Provider]:
        """Identity providers whose names, scopes or entity IDs hold all words; those that begin so first.

        Args:
            text: what a person typed; all are found by none.
            language: by whose names they are ordered.
            many: so many at most.
        """
        words = sorted(fold(text[:LONGEST_TEXT]).split(), key=len, reverse=True)
        found = self._found(words, _MOST if words else max(many, _WELL_BEGUN))
        shown = [one for one in found if not one.hidden or one.entity == text.strip()]
        first = fold(text[:LONGEST_TEXT]).partition(" ")[0]

        def order(one: Provider) -> tuple[bool, str, str]:
            name = fold(one.name(language))
            return not name.startswith(first), name, one.entity

        return sorted(shown, key=order)[:many]

    def all(self, language: str = "en") -> Sequence[Provider]:
        """All that may be believed now, by name."""
        found = self._found([], _MOST)
        return sorted(found, key=lambda one: (fold(one.name(language)), one.entity))

    def _known(self, entity: str) -> Provider | None:
        with self._catalog.reading() as unit:
            rows = unit.providers.find(entity)
        return next(iter(self._believed(rows)), None)

    def _found(self, words: Sequence[str], most: int) -> list[Provider]:
        with self._catalog.reading() as unit:
            return self._believed(unit.providers.search(words, most))

    def _believed(self, rows: Iterable[ProviderRow]) -> list[Provider]:
        """One provider for each entity ID, as the source that counts first tells of it."""
        best: dict[str, ProviderRow] = {}
        for row in sorted(rows, key=_rank):
            best.setdefault(row.entity, row)
        now = self._clock()
        found = [provider_of(row) for row in best.values() if row.valid_until > now]
        return [one for one in found if self._demonstration or not one.demonstration]


def provider_of(row: ProviderRow) -> Provider:
    """The identity provider that a row describes."""
    return read_provider(row.described, entity=row.entity, source=row.source, valid_until=row.valid_until)


def found_by(provider: Provider) -> str:
    """What people find an identity provider by."""
    names = [text for _, text in provider.names]
    scopes = [text for text, is_pattern in provider.scopes if not is_pattern]
    return fold("\n".join(dict.fromkeys([*names, *scopes, provider.entity])))


def _rank(row: ProviderRow) -> tuple[int, str]:
    return (KINDS.index(row.kind) if row.kind in KINDS else len(KINDS)), row.source
