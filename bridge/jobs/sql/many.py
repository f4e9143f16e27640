"""One statement for many rows.

On SQLite the way through SQLAlchemy to the driver's ``executemany`` costs as much as the writing itself: it works out
each row's parameters anew. What it would find out is the same for all rows, and so found out once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.sql.dml import UpdateBase


def execute_many(connection: Connection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> int:
    """Execute for each row, all of which have the same keys; return how many rows the driver says were touched."""
    if connection.dialect.name != "sqlite":
        return connection.execute(statement, rows).rowcount
    prepared = _prepare(statement, connection.dialect, tuple(rows[0]))
    return connection.exec_driver_sql(prepared.sql, [prepared.values(row) for row in rows]).rowcount


@dataclass(frozen=True, slots=True)
class _Prepared:
    sql: str
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    changes: tuple[tuple[int, Callable[[Any], Any]], ...]  # of values that the driver does not take as they are

    def values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(self.pick(row))
        for at, change in self.changes:
            values[at] = change(values[at])
        return tuple(values)


@lru_cache(maxsize=16)
def _prepare(statement: UpdateBase, dialect: Dialect, names: tuple[str, ...]) -> _Prepared:
    compiled = statement.compile(dialect=dialect, column_keys=names)
    order = compiled.positiontup or []
    types = [compiled.binds[name].type for name in order]
    changes = [
        (at, type_.dialect_impl(dialect).bind_processor(dialect))
        for at, type_ in enumerate(types)
        if not isinstance(type_, LargeBinary)  # bytes are welcome
    ]
    return _Prepared(compiled.string, itemgetter(*order), tuple((at, change) for at, change in changes if change))
