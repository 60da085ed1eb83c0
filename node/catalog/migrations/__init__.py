"""Numbered migrations: each SQL file of a dialect's folder is applied once, in order, in one transaction.

Statements are separated by an empty line.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, inspect, select

from node.domain.errors import SchemaTooNew

version = Table("schema_version", MetaData(), Column("version", Integer, primary_key=True))


def migrate(connection: Connection) -> int:
    """Bring the schema up to date inside the transaction of `connection` and return its version.

    Raises:
        SchemaTooNew: a newer program has written this catalog.
    """
    found = current(connection)
    known = list(_scripts(connection.dialect.name))
    if found > len(known):
        raise SchemaTooNew(found, len(known))
    if found == 0:
        version.create(connection, checkfirst=True)
    for number, script in enumerate(known[found:], start=found + 1):
        for statement in script.split("\n\n"):
            if statement.strip() and not _is_comment(statement):
                connection.exec_driver_sql(statement)
        connection.execute(insert(version).values(version=number))
    return len(known)


def current(connection: Connection) -> int:
    """The version that the catalog has; 0 for an empty one."""
    if not inspect(connection).has_table(version.name):
        return 0
    return max(connection.scalars(select(version.c.version)), default=0)


def _scripts(dialect: str) -> Iterator[str]:
    folder = files(__package__).joinpath(dialect)
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
        yield folder.joinpath(name).read_text(encoding="utf-8")


def _is_comment(statement: str) -> bool:
    return all(line.startswith("--") for line in statement.strip().splitlines())
