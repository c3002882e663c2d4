"""Makes the objects of the rules from rows of the database."""

from dataclasses import fields

import asyncpg
import orjson

from service.checkouts.rules import Checkout


def checkout_from_row(row: asyncpg.Record) -> Checkout:
    values = {field.name: row[field.name] for field in fields(Checkout)}
    return Checkout(**{**values, "returns": orjson.loads(values["returns"])})
