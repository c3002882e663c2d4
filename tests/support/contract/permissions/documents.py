"""The documents of the API and its health are public."""

from tests.support.contract.permissions.table import ANYBODY, row

TABLE = [
    row("GET /openapi.json", any=ANYBODY),
    row("GET /asyncapi.json", any=ANYBODY),
    row("GET /health", any=ANYBODY),
]
