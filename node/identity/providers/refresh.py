"""The sources of identity providers: added, fetched again and again, taken away.

```
add ── fetched, its signature holds ──▶ believed until it says ── not refreshed by then ──▶ not believed
                                           ▲        │ fetched again
                                           └────────┘
```

What could not be fetched or is not believed changes nothing: the last good metadata hold until they end.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import BinaryIO, Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.providers import FOREVER, ProviderRow, Source
from node.catalog.unit import Unit
from node.domain.clock import Clock
from node.domain.errors import (
    BadSignature,
    MalformedMetadata,
    MetadataRefused,
    NodeError,
    PeerUnreachable,
    Rejected,
    Unknown,
    UnknownProvider,
)
from node.domain.principal import Action, Principal
from node.domain.words import number
from node.identity.gate import Gate
from node.identity.providers import mdq
from node.identity.providers.aggregate import LONGEST, MOST_BYTES, MOST_BYTES_OF_ONE, Head, Part, Tail, Wanted
from node.identity.providers.descriptor import Provider
from node.identity.providers.discovery import AGGREGATE, MDQ, provider_of
from node.identity.providers.keeping import (
    Refreshed,
    begin,
    check,
    checked,
    counted,
    end_sessions,
    put,
    settle,
)
from node.identity.providers.ports import Fetch, Read

log = logging.getLogger(__name__)

BATCH: Final = 200
"""Identity providers that are written in one unit of work."""
MOST_OF_MDQ: Final = 500
"""Identity providers of a query service that are kept up to date."""

LONGEST_ERROR: Final = 500
_NO_TAIL: Final = Tail(read=0, skipped=0, notes=())


class Sources:
    """The sources of a site."""

    def __init__(
        self, catalog: Catalog, clock: Clock, *, fetch: Fetch, read: Read, demonstration: bool = False
    ) -> None:
        """The sources in a catalog.

        Args:
            catalog: keeps them and what they told.
            clock: says the time.
            fetch: gets documents.
            read: reads them.
            demonstration: whether demonstration identity providers are believed.
        """
        self._catalog = catalog
        self._clock = clock
        self._fetch = fetch
        self._read = read
        self._demonstration = demonstration
        self._questions = mdq.Questions(clock)

    def all(self) -> Sequence[Source]:
        """All sources by name."""
        with self._catalog.reading() as unit:
            return unit.providers.sources()

    def find(self, name: str) -> Source:
        """The source of that name.

        Raises:
            UnknownProvider: there is none.
        """
        with self._catalog.reading() as unit:
            source = unit.providers.source(name)
        if source is None:
            raise UnknownProvider(name)
        return source

    def add(
        self, principal: Principal, source: Source, document: bytes | None = None, *, again: bool = False
    ) -> Refreshed:
        """Add a source once it could be fetched and is believed.

        Args:
            principal: who vouches for it.
            source: with its pins.
            document: what it told, for one that is not fetched.
            again: in place of the one of that name.

        Raises:
            Rejected: the name is taken, or what is given does not go together.
            MetadataRefused: what was fetched is not believed.
            PeerUnreachable: nothing could be fetched.
        """
        Gate(self._catalog).demand(principal, Action.ADMINISTER)
        check(source)
        with self._catalog.reading() as unit:
            known = unit.providers.source(source.name)
        if known is not None and not again:
            raise Rejected(
                f"there is a source {source.name} already; say --replace to put another in its place"
            )
        trial = replace(source, fetched_at=0, valid_until=0, etag="", failed_at=0, error="")
        rows, done = self._tried(trial, document)

        def write(unit: Unit) -> None:
            before = list(unit.providers.digests(trial.name))
            begin(unit, principal, trial, is_new=known is None)
            put(unit, trial, rows)
            settle(unit, trial, done.source, ())
            end_sessions(unit, before)

        self._catalog.perform(write)
        return done

    def _tried(self, source: Source, document: bytes | None) -> tuple[list[ProviderRow], Refreshed]:
        """What a new source tells; nothing is written."""
        if source.kind == MDQ:
            return self._queried(source, {})
        with tempfile.TemporaryFile() as file:
            etag = self._get(source, file, document)
            parts = list(self._parts(source, file))
        rows = [part for part in parts if isinstance(part, ProviderRow)]
        head, tail = parts[0], parts[-1]
        assert isinstance(head, Head)
        assert isinstance(tail, Tail)
        done = self._refreshed(source, head, etag or "")
        return rows, counted(done, rows=len(rows), changed=len(rows), removed=0, tail=tail)

    def look(self, source: Source, document: bytes | None = None) -> Sequence[Provider]:
        """What the metadata of a single identity provider say, whoever wrote them; nothing is kept.

        Raises:
            MetadataRefused: they cannot be read.
            PeerUnreachable: nothing could be fetched.
        """
        with tempfile.TemporaryFile() as file:
            self._get(source, file, document)
            rows = [part for part in self._parts(source, file) if isinstance(part, ProviderRow)]
        return [provider_of(replace(row, source=source.name)) for row in rows]

    def remove(self, principal: Principal, name: str) -> None:
        """Forget a source and all that it told; whoever logged in by it is logged out.

        Raises:
            UnknownProvider: there is none of that name.
        """
        Gate(self._catalog).demand(principal, Action.ADMINISTER)

        def forget(unit: Unit) -> None:
            if unit.providers.source(name) is None:
                raise UnknownProvider(name)
            gone = list(unit.providers.digests(name))
            unit.providers.remove_source(name)
            ended = end_sessions(unit, gone)
            what = f"identity providers of {name} removed, {number(ended, 'session')} ended"
            unit.audit.append(deed_of(principal, Event.CONFIGURED, what=what))

        self._catalog.perform(forget)

    def refresh(self, name: str) -> Refreshed:
        """Fetch a source again.

        Raises:
            UnknownProvider: there is none of that name.
            MetadataRefused: what was fetched is not believed; the last good metadata hold.
            PeerUnreachable: nothing could be fetched.
        """
        source = self.find(name)
        try:
            if source.kind == MDQ:
                return self._write_mdq(source)
            if not source.url:
                return Refreshed(source=source, unchanged=True)
            with tempfile.TemporaryFile() as file:
                etag = self._get(source, file, None)
                if etag is None:
                    return self._still(source)
                return self._write(source, self._parts(source, file), etag)
        except NodeError as error:
            why = str(error)
            self._catalog.perform(lambda unit: unit.providers.failed(name, why))
            raise

    def due(self, period: int) -> Sequence[str]:
        """Sources that were not refreshed for so many microseconds."""
        now = self._clock()
        return [one.name for one in self.all() if one.url and now - one.fetched_at >= period]

    def ask(self, entity: str) -> None:
        """Ask the query services for an identity provider that is not known; at most now and then."""
        services = [one for one in self.all() if one.kind == MDQ]
        if not services or not self._questions.begin(entity):
            return
        try:
            for source in services:
                if self._ask(source, entity):
                    return
        finally:
            self._questions.end()

    def _ask(self, source: Source, entity: str) -> bool:
        try:
            row = self._query(source, entity)
            self._catalog.perform(lambda unit: put(unit, source, [row]))
        except (UnknownProvider, Unknown):
            return False
        except NodeError as error:
            log.warning("a query service did not help", extra={"source": source.name, "error": str(error)})
            return False
        return True

    def _get(self, source: Source, file: BinaryIO, document: bytes | None) -> str | None:
        """Put the document into the file; its entity tag, or None if it is the one that is known."""
        etag: str | None = ""
        if document is not None:
            file.write(document)
        elif source.kind != MDQ:
            most = MOST_BYTES if source.kind == AGGREGATE else MOST_BYTES_OF_ONE
            try:
                etag = self._fetch(source.url, file, etag=source.etag, most=most)
            except UnknownProvider:
                raise PeerUnreachable(source.url, "nothing is published at that address") from None
        file.seek(0)
        return etag

    def _parts(self, source: Source, file: BinaryIO, entity: str = "") -> Iterator[Part]:
        """What the document says, once it is known to be believed.

        Raises:
            MetadataRefused: it is not.
        """
        wanted = Wanted(
            kind=source.kind,
            pins=source.pins,
            now=self._clock(),
            entity=entity or source.options.get("entity", ""),
            scopes=tuple(source.options.get("scopes", ())),
            demonstration=self._demonstration,
        )
        try:
            yield from checked(source, self._read(file, wanted))
        except (BadSignature, MalformedMetadata) as error:
            raise MetadataRefused(source.name, error.args[0]) from None

    def _write(self, source: Source, parts: Iterator[Part], etag: str) -> Refreshed:
        """Write what a document says, in steps of which each is true by itself."""
        with self._catalog.reading() as unit:
            known = unit.providers.digests(source.name)
        head, tail, changed = Head(valid_until=0, published=0), _NO_TAIL, 0
        seen: set[str] = set()
        while batch := list(islice(parts, BATCH)):
            rows = [part for part in batch if isinstance(part, ProviderRow)]
            head = next((part for part in batch if isinstance(part, Head)), head)
            tail = next((part for part in batch if isinstance(part, Tail)), tail)
            seen.update(row.entity for row in rows)
            new = [row for row in rows if known.get(row.entity) != row.digest]
            changed += len(new)
            if new:
                self._catalog.perform(partial(put, source=source, rows=new))
        gone = sorted(known.keys() - seen)
        done = self._refreshed(source, head, etag)
        self._catalog.perform(lambda unit: settle(unit, source, done, gone))
        return counted(done, rows=len(seen), changed=changed, removed=len(gone), tail=tail)

    def _refreshed(self, source: Source, head: Head, etag: str) -> Source:
        """A source of which that was just read."""
        told = {**source.options, "published": head.published, "ends": head.valid_until}
        return self._renewed(replace(source, etag=etag, options=told))

    def _renewed(self, source: Source) -> Source:
        """A source that was reached just now: what says no end is believed for 30 days more."""
        now = self._clock()
        ends = int(source.options.get("ends", 0))
        until = min(ends, now + LONGEST) if source.url else ends
        return replace(source, fetched_at=now, valid_until=until, failed_at=0, error="")

    def _still(self, source: Source) -> Refreshed:
        """The same document as last time."""
        done = self._renewed(source)
        self._catalog.perform(lambda unit: settle(unit, source, done, ()))
        return Refreshed(source=done, unchanged=True)

    def _write_mdq(self, source: Source) -> Refreshed:
        """Ask again for all identity providers that are known of a query service."""
        with self._catalog.reading() as unit:
            known = unit.providers.digests(source.name)
        rows, done = self._queried(source, known)
        gone = [entity for entity in known if entity in done.gone]

        def write(unit: Unit) -> None:
            put(unit, source, [row for row in rows if known.get(row.entity) != row.digest])
            settle(unit, source, done.source, gone)

        self._catalog.perform(write)
        return done

    def _queried(self, source: Source, known: Mapping[str, str]) -> tuple[list[ProviderRow], Refreshed]:
        """What a query service tells of those that were named or are known; nothing is written."""
        rows, gone, notes = [], [], []
        for entity in list(dict.fromkeys([*source.options.get("entities", ()), *known]))[:MOST_OF_MDQ]:
            try:
                rows.append(self._query(source, entity))
            except (UnknownProvider, MetadataRefused) as error:
                notes.append(f"{entity}: {error}")
                gone += [entity] if isinstance(error, UnknownProvider) else []
        if notes and not rows:
            raise MetadataRefused(source.name, "; ".join(notes[:3]))
        now = self._clock()
        done = replace(
            source, fetched_at=now, valid_until=FOREVER, failed_at=0, error="; ".join(notes)[:LONGEST_ERROR]
        )
        changed = sum(known.get(row.entity) != row.digest for row in rows)
        tail = Tail(read=len(rows), skipped=len(notes), notes=tuple(notes[:5]))
        return rows, replace(
            counted(done, rows=len(rows), changed=changed, removed=len(gone), tail=tail), gone=tuple(gone)
        )

    def _query(self, source: Source, entity: str) -> ProviderRow:
        """Ask a query service for one identity provider.

        Raises:
            UnknownProvider: it knows none.
            MetadataRefused: its answer is not believed.
            PeerUnreachable: it does not answer.
        """
        with tempfile.TemporaryFile() as file:
            self._fetch(mdq.address(source.url, entity), file, etag="", most=MOST_BYTES_OF_ONE)
            file.seek(0)
            parts = list(self._parts(source, file, entity))
        head = next(part for part in parts if isinstance(part, Head))
        row = next(part for part in parts if isinstance(part, ProviderRow))
        return replace(row, ends=min(row.ends, head.valid_until))
