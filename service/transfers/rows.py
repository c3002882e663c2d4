"""Makes the objects of the rules from rows of the database."""

from dataclasses import fields

import asyncpg

from service.transfers.rules import Transfer

_COLUMNS = tuple(field.name for field in fields(Transfer))


def transfer_from_row(row: asyncpg.Record) -> Transfer:
    return Transfer(**{name: row[name] for name in _COLUMNS})
