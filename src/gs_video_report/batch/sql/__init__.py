"""The named SQL of the queue: schema, migrations and queries, as files.

Truth: `schema.sql` is the newest schema; applying all of `migrations/` in order gives the same
(a test holds the two equal). `SCHEMA_VERSION` is the number of the last migration and is what
`PRAGMA user_version` holds. A query in `queries.sql` starts with the line `-- name: <word>`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

APPLICATION_ID = 0x67737672
"""`gsvr`, in the header of every database that is ours."""

_NAME_LINE = "-- name: "


@cache
def queries() -> Mapping[str, str]:
    """All named queries."""
    return MappingProxyType(parse_queries((files(__package__) / "queries.sql").read_text("utf-8")))


def query(name: str) -> str:
    """One named query. Raises: KeyError."""
    return queries()[name]


@lru_cache(maxsize=512)
def query_of_rows(name: str, count: int) -> str:
    """The named query, the one row of its VALUES repeated `count` (at least 1) times.

    Raises: KeyError; ValueError when the query has no VALUES.
    """
    before, values, rest = query(name).partition("VALUES ")
    if not values:
        raise ValueError(f"query {name} has no VALUES")
    row, end, after = rest.partition(")")
    return before + values + ", ".join([row + end] * count) + after


def parse_queries(text: str) -> dict[str, str]:
    """Split a file of queries at its name lines. Raises: ValueError on a name used twice."""
    found: dict[str, str] = {}
    for block in ("\n" + text).split("\n" + _NAME_LINE)[1:]:
        name, _, body = block.partition("\n")
        if name.strip() in found:
            raise ValueError(f"query {name.strip()} is there twice")
        found[name.strip()] = body.strip().rstrip(";")
    return found


@cache
def schema() -> str:
    """The newest schema as a script."""
    return (files(__package__) / "schema.sql").read_text("utf-8")


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """(version, script) in order, from 1 without gaps."""
    return read_migrations(files(__package__) / "migrations")


def read_migrations(folder: Traversable) -> tuple[tuple[int, str], ...]:
    """Read `0001_name.sql`, `0002_name.sql`, ... Raises: ValueError on a gap or a stray name."""
    scripts = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    found = tuple((int(f.name.partition("_")[0]), f.read_text("utf-8")) for f in scripts)
    if [version for version, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1, 2, 3: {[v for v, _ in found]}")
    return found


def schema_version() -> int:
    """What `PRAGMA user_version` is after all migrations."""
    return len(migrations())


def statements(script: str) -> Iterator[str]:
    """Single statements of a script; knows that triggers contain semicolons.

    Needed because `executescript` commits first, and a migration is one transaction.
    """
    pending = ""
    for piece in script.split(";")[:-1]:
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    pending += script.rpartition(";")[2]
    if any(x.strip() and not x.strip().startswith("--") for x in pending.splitlines()):
        raise ValueError(f"unfinished statement: {pending.strip()[:80]}")
