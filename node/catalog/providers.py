"""Identity providers as rows: where this site was told of them, and what it was told.

An identity provider may be told of by several sources; each says for itself until when it may be believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement

if TYPE_CHECKING:
    from node.catalog.unit import Unit

FOREVER: Final = 253_402_300_799_000_000
"""The end of the year 9999, for what is believed until somebody takes it away."""

_source, _idp = schema.idp_source.c, schema.idp.c
_ESCAPE = "\\"
_PATTERNS = ("first", "second", "third", "fourth")
_PUT_SOURCE = Statement(insert(schema.idp_source).prefix_with("OR REPLACE", dialect="sqlite"))
_SOURCES = Statement(select(schema.idp_source).order_by(_source.name))
_SOURCE = Statement(select(schema.idp_source).where(_source.name == bindparam("which")))
_DROP_SOURCE = Statement(delete(schema.idp_source).where(_source.name == bindparam("which")))
_FAILED = Statement(
    update(schema.idp_source)
    .where(_source.name == bindparam("which"))
    .values(failed_at=bindparam("now"), error=bindparam("why"))
)
_COUNTS = Statement(select(_idp.source, func.count()).group_by(_idp.source))
_PUT = Statement(insert(schema.idp).prefix_with("OR REPLACE", dialect="sqlite"))
_DROP = Statement(
    delete(schema.idp).where(_idp.entity == bindparam("whom"), _idp.source == bindparam("which"))
)
_DROP_ALL = Statement(delete(schema.idp).where(_idp.source == bindparam("which")))
_DIGESTS = Statement(select(_idp.entity, _idp.digest).where(_idp.source == bindparam("which")))
_COLUMNS = (
    _idp.entity,
    _idp.source,
    _source.kind,
    _idp.described,
    _idp.valid_until,
    _source.valid_until.label("source_until"),
)
_BELIEVED = (
    _idp.source == _source.name,
    _idp.valid_until > bindparam("now"),
    _source.valid_until > bindparam("now"),
)
_FIND = Statement(select(*_COLUMNS).where(_idp.entity == bindparam("whom"), *_BELIEVED))
_OF = Statement(
    select(*_COLUMNS)
    .where(_idp.source == bindparam("which"), _idp.source == _source.name)
    .order_by(_idp.entity)
)
_SEARCH = Statement(
    select(*_COLUMNS, _idp.folded)
    .where(*[_idp.folded.like(bindparam(name), escape=_ESCAPE) for name in _PATTERNS], *_BELIEVED)
    .order_by(_idp.folded, _idp.entity)
    .limit(bindparam("many"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where this site is told of identity providers."""

    name: str
    kind: str
    """`single`, `aggregate` or `mdq`."""
    url: str = ""
    """Where it is fetched from; empty for one that was given as a file."""
    pins: tuple[str, ...] = ()
    """What it must be signed with, or show: certificates (PEM), or fingerprints of certificates."""
    options: Mapping[str, Any] = field(default_factory=dict)
    fetched_at: int = 0
    valid_until: int = 0
    etag: str = ""
    failed_at: int = 0
    """Since when it cannot be refreshed; 0 while it can."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """What one source told of one identity provider."""

    entity: str
    source: str
    kind: str = ""
    """Of the source."""
    described: str
    """As its reader wrote it."""
    folded: str = ""
    """What it is found by, without case and accents."""
    ends: int = FOREVER
    """Until when this may be believed by itself."""
    valid_until: int = 0
    """Until when it may be believed as it stands here: no longer than its source."""

    @property
    def digest(self) -> str:
        """Changes when anything of it does."""
        return hashlib.sha256(f"{self.described}\n{self.folded}\n{self.ends}".encode()).hexdigest()


class ProviderRows:
    """Sources and identity providers."""

    def __init__(self, unit: Unit) -> None:
        """The identity providers within a unit of work."""
        self._unit = unit

    def sources(self) -> Sequence[Source]:
        """All sources by name."""
        return [_source_of(row) for row in self._unit.run(_SOURCES).fetchall()]

    def source(self, name: str) -> Source | None:
        """The source of that name."""
        row = self._unit.run(_SOURCE, which=name).fetchone()
        return _source_of(row) if row else None

    def put_source(self, source: Source) -> None:
        """Add a source, or replace the one of that name."""
        self._unit.run(
            _PUT_SOURCE,
            name=source.name,
            kind=source.kind,
            url=source.url,
            pins=json.dumps(source.pins),
            options=json.dumps(dict(source.options), ensure_ascii=False),
            fetched_at=source.fetched_at,
            valid_until=source.valid_until,
            etag=source.etag,
            failed_at=source.failed_at,
            error=source.error,
        )

    def failed(self, name: str, why: str) -> None:
        """Note that a source could not be refreshed; since when is kept from the first time."""
        known = self.source(name)
        since = (known.failed_at if known else 0) or self._unit.now
        self._unit.run(_FAILED, which=name, now=since, why=why[:500])

    def remove_source(self, name: str) -> None:
        """Forget a source and all that it told."""
        self._unit.run(_DROP_ALL, which=name)
        self._unit.run(_DROP_SOURCE, which=name)

    def counts(self) -> Mapping[str, int]:
        """How many identity providers each source told of."""
        return dict(self._unit.run(_COUNTS).fetchall())

    def digests(self, source: str) -> dict[str, str]:
        """What is known of a source's identity providers: entity ID and digest."""
        return dict(self._unit.run(_DIGESTS, which=source).fetchall())

    def put(self, row: ProviderRow) -> None:
        """Write what a source tells of an identity provider."""
        self._unit.run(
            _PUT,
            entity=row.entity,
            source=row.source,
            described=row.described,
            folded=row.folded,
            digest=row.digest,
            valid_until=row.ends,
        )

    def remove(self, entity: str, source: str) -> None:
        """A source tells of an identity provider no longer."""
        self._unit.run(_DROP, whom=entity, which=source)

    def find(self, entity: str) -> Sequence[ProviderRow]:
        """What sources that may be believed now tell of an identity provider."""
        rows = self._unit.run(_FIND, whom=entity, now=self._unit.now).fetchall()
        return [_row_of(row) for row in rows]

    def of(self, source: str) -> Sequence[ProviderRow]:
        """What a source told, whether it may be believed now or not."""
        return [_row_of(row) for row in self._unit.run(_OF, which=source).fetchall()]

    def search(self, words: Sequence[str], many: int) -> Iterator[ProviderRow]:
        """Identity providers that may be believed now and hold these folded words, of which four count."""
        patterns = [f"%{_escaped(word)}%" for word in words[: len(_PATTERNS)]]
        patterns += ["%"] * (len(_PATTERNS) - len(patterns))
        values = dict(zip(_PATTERNS, patterns, strict=True))
        rows = self._unit.run(_SEARCH, now=self._unit.now, many=many, **values).fetchall()
        return (_row_of(row) for row in rows)


def _escaped(word: str) -> str:
    for sign in (_ESCAPE, "%", "_"):
        word = word.replace(sign, _ESCAPE + sign)
    return word


def _source_of(row: Sequence[Any]) -> Source:
    name, kind, url, pins, options, fetched_at, valid_until, etag, failed_at, error = row
    return Source(
        name=name,
        kind=kind,
        url=url,
        pins=tuple(json.loads(pins or "[]")),
        options=json.loads(options or "{}"),
        fetched_at=fetched_at,
        valid_until=valid_until,
        etag=etag,
        failed_at=failed_at,
        error=error,
    )


def _row_of(row: Sequence[Any]) -> ProviderRow:
    entity, source, kind, described, ends, source_until, *folded = row
    return ProviderRow(
        entity=entity,
        source=source,
        kind=kind,
        described=described,
        folded=folded[0] if folded else "",
        ends=ends,
        valid_until=min(ends, source_until),
    )
