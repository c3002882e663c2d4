"""Which relays there are is an admin's to see: they deliver for all."""

from tests.support.contract.permissions.table import ADMIN_ONLY, row

TABLE = [
    row("GET /relays", any=ADMIN_ONLY),
]
