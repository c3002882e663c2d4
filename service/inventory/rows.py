"""Makes the objects of the rules from rows of the database."""

from dataclasses import fields

import asyncpg

from service.inventory.rules import Category, Location, Move, Place
from service.platform.clock import iso


def location_from_row(row: asyncpg.Record) -> Location:
    values = {field.name: row[field.name] for field in fields(Location)}
    return Location(**{**values, "foremen": tuple(values["foremen"])})


def category_from_row(row: asyncpg.Record) -> Category:
    return Category(**{field.name: row[field.name] for field in fields(Category)})


def place_from_row(row: asyncpg.Record) -> Place:
    return {
        "location_id": str(row["location_id"]) if row["location_id"] else None,
        "location_name": row["location_name"],
        "quantity": row["quantity"],
        "reserved_quantity": row["reserved_quantity"],
        "available": row["quantity"] - row["reserved_quantity"],
    }


def move_from_row(row: asyncpg.Record) -> Move:
    return {
        "from_location_id": row["from_location_id"],
        "to_location_id": row["to_location_id"],
        "at": iso(row["at"]),
        "by": {"id": str(row["actor_id"]), "username": row["username"]} if row["actor_id"] else None,
        "reason": row["action"],
    }
