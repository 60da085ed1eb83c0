"""The migrations make the tables that the code believes in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Inspector, Table, create_engine, inspect
from sqlalchemy.sql import ClauseElement

from node.catalog import schema
from node.catalog.attributes import ATTRIBUTES, COUNTS, READ
from node.catalog.catalog import Catalog
from node.catalog.migrations import current, migrate
from node.catalog.schema import metadata
from node.domain.errors import SchemaTooNew, StoreFailing
from node.domain.query import Level
from tests.support.sites import BRNO

LEVELS = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.IMAGE: schema.instance,
}


@pytest.fixture
def migrated(tmp_path) -> Iterator[Inspector]:
    engine = create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with engine.begin() as connection:
        assert migrate(connection) == current(connection) > 0
        assert migrate(connection) == current(connection)
    yield inspect(engine)
    engine.dispose()


@pytest.fixture
def believed() -> Inspector:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    return inspect(engine)


@pytest.mark.parametrize("table", metadata.tables)
def test_a_migrated_table_is_the_believed_one(migrated, believed, table):
    for facts in (
        "get_columns",
        "get_pk_constraint",
        "get_foreign_keys",
        "get_indexes",
        "get_unique_constraints",
    ):
        assert told(migrated, facts, table) == told(believed, facts, table), facts


def told(inspector: Inspector, facts: str, table: str) -> object:
    found = getattr(inspector, facts)(table)
    return sorted(str(plain(fact)) for fact in found) if isinstance(found, list) else str(plain(found))


def plain(fact: object) -> object:
    """A fact in which conditions of indexes are told as text."""
    if isinstance(fact, dict):
        return {name: plain(value) for name, value in fact.items()}
    return str(fact) if isinstance(fact, ClauseElement) else fact


def test_there_is_no_table_besides(migrated):
    names = {name for name in migrated.get_table_names() if not name.startswith("patient_name")}
    assert names == {*metadata.tables, "schema_version"}


def test_a_rebuild_clears_every_derived_table_before_those_it_refers_to():
    order = list(schema.DERIVED)
    for table in order:
        for key in table.foreign_keys:
            assert order.index(key.column.table) > order.index(table)
    kept = {"journal", "audit", "job", "device", "knock", "node"}
    kept |= {"cursor", "gap", "want", "contact", "invitation", "ticket"}
    kept |= {"alert", "gauge", "rhythm"}
    kept |= {"finding", "proof", "round", "brake", "given_up", "recall"}
    kept |= {"policy", "role_grant", "emergency", "account", "idp_source", "idp"}
    kept |= {"login", "taken", "session", "audit_head", "witness", "audit_fault", "audit_sent"}
    kept |= {name for name in metadata.tables if name.startswith(("partner", "moving"))}
    assert {table.name for table in order} == metadata.tables.keys() - kept


@pytest.mark.parametrize(
    "attribute", [a for a in [*ATTRIBUTES.values(), *COUNTS.values()] if a.column], ids=str
)
def test_every_attribute_lives_in_a_column_of_its_level(attribute):
    table: Table = LEVELS[attribute.level]
    assert attribute.column in table.c
    if attribute.vr == "PN":
        assert f"{attribute.column}_folded" in table.c


def test_every_attribute_has_the_vr_of_the_dictionary():
    from pydicom.datadict import dictionary_VM, dictionary_VR

    for tag, attribute in (ATTRIBUTES | COUNTS).items():
        assert attribute.tag == tag
        assert attribute.vr == dictionary_VR(tag)
        assert attribute.multiple == (dictionary_VM(tag) != "1" and attribute.vr != "SQ"), hex(tag)
    assert not ATTRIBUTES.keys() & COUNTS.keys()
    assert ATTRIBUTES.keys() > READ


def test_a_catalog_of_a_newer_program_is_left_alone(tmp_path):
    path = tmp_path / "catalog.db"
    Catalog(path, origin=BRNO).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="99"):
        Catalog(path, origin=BRNO)
    assert path.read_bytes() == before


def test_a_file_that_is_no_catalog_is_not_opened(tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreFailing):
        Catalog(path, origin=BRNO)
    assert path.read_bytes() == b"something else" * 1000
