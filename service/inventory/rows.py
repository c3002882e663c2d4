"""Rows of the database as what the rules work on."""

from dataclasses import fields

import asyncpg

from service.inventory.rules import Category, Location


def location_from_row(row: asyncpg.Record) -> Location:
    values = {field.name: row[field.name] for field in fields(Location)}
    return Location(**{**values, "foremen": tuple(values["foremen"])})


def category_from_row(row: asyncpg.Record) -> Category:
    return Category(**{field.name: row[field.name] for field in fields(Category)})
