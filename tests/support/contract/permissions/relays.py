"""Only admins see the relays, because relays deliver for all owners."""

from tests.support.contract.permissions.table import ADMIN_ONLY, row

TABLE = [
    row("GET /relays", any=ADMIN_ONLY),
]
