"""Rows of the database as what the rules work on."""

from dataclasses import fields

import asyncpg

from service.transfers.rules import Transfer

_COLUMNS = tuple(field.name for field in fields(Transfer))


def transfer_from_row(row: asyncpg.Record) -> Transfer:
    return Transfer(**{name: row[name] for name in _COLUMNS})
