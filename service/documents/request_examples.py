"""An example of the body of each route that takes one, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from service.documents.examples import FIELDS

_ITEM_ID, _CATEGORY_ID = FIELDS["itemId"], FIELDS["categoryId"]
_HERE, _THERE = FIELDS["fromLocation"], FIELDS["toLocation"]
_USER_ID = FIELDS["approvedBy"]
_PASSWORD = "correct horse battery staple"  # noqa: S105 - nobody's

REQUESTS: Mapping[str, dict[str, Any]] = {
    "POST /auth/register": {
        "username": "ada",
        "email": "ada@example.org",
        "password": _PASSWORD,
        "full_name": "Ada L.",
    },
    "POST /auth/login": {"username": "ada", "password": _PASSWORD},
    "POST /auth/refresh": {"refreshToken": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…"},
    "POST /auth/password": {"currentPassword": _PASSWORD, "newPassword": "a better one than before"},
    "POST /users": {
        "username": "grace",
        "email": "grace@example.org",
        "password": _PASSWORD,
        "full_name": "Grace H.",
        "role": "supervisor",
    },
    "PUT /users/{id}": {"role": "foreman"},
    "POST /items": {
        "name": "Hydraulic pump",
        "sku": "HP-100",
        "quantity": 12,
        "min_quantity": 10,
        "condition": "good",
        "purchase_date": "2026-02-18",
        "category_id": _CATEGORY_ID,
        "location_id": _HERE,
        "attributes": {"power": "4 kW"},
    },
    "PUT /items/{id}": {"quantity": 4},
    "PUT /items/{id}/location": {"location_id": _THERE},
    "POST /items/bulk": {
        "mode": "all",
        "operations": [
            {"op": "create", "item": {"name": "Hydraulic hose", "sku": "HH-20", "quantity": 30}},
            {"op": "update", "id": _ITEM_ID, "item": {"location_id": _THERE}},
            {"op": "count", "id": _ITEM_ID, "quantity": 4},
        ],
    },
    "POST /locations": {"name": "Site Linden School", "address": "Linden Road 4"},
    "PUT /locations/{id}": {"address": "Linden Road 6"},
    "POST /locations/{id}/foremen": {"user_ids": [_USER_ID]},
    "POST /categories": {"name": "Pumps", "parent_id": None},
    "PUT /categories/{id}": {"name": "Pumps and hoses"},
    "POST /transfers": {
        "item_id": _ITEM_ID,
        "from_location_id": _HERE,
        "to_location_id": _THERE,
        "quantity": 2,
        "reason": "The site has run out",
    },
    "POST /transfers/{id}/reject": {"reason": "The other site needs them more"},
    "POST /checkouts/checkout": {
        "item_id": _ITEM_ID,
        "quantity": 1,
        "expected_return_date": "2030-03-01",
        "destination_location_id": _THERE,
        "project_id": "linden-school",
    },
    "POST /checkouts/{id}/checkin": {"quantity": 1, "location_id": _HERE, "notes": "Needs a new hose"},
    "POST /webhooks": {
        "url": "https://your-app.com/webhooks/inventory",
        "events": ["low-stock-alert"],
        "filters": {"minStockThreshold": 5},
        "headers": {"Authorization": "Bearer xyz"},
        "retryPolicy": {"maxRetries": 3, "retryDelay": 5000},
        "timeout": 30000,
    },
    "PUT /webhooks/{id}": {"active": True, "pending": "discard"},
    "POST /webhooks/{id}/secret/rotate": {"overlapSeconds": 86400},
    "POST /webhooks/{id}/replay": {"since": "2026-02-18T09:30:00Z", "status": "missing", "dryRun": True},
}

# The files of the routes that take or send text/csv.
CSV: Mapping[str, str] = {
    "POST /items/import": "name,sku,quantity,min_quantity\r\nHydraulic pump,HP-100,12,10\r\nHydraulic hose,HH-20,30,5\r\n",
    "GET /items/export": "id,name,sku,serial_number,description,quantity,reserved_quantity,min_quantity,condition,status,"
    "purchase_date,category_id,location_id,attributes,created_at,updated_at\r\n"
    f"{_ITEM_ID},Hydraulic pump,HP-100,,,4,1,10,good,available,2026-02-18,{_CATEGORY_ID},{_HERE},"
    '"{""power"":""4 kW""}",2026-02-01T08:00:00.000Z,2026-02-18T09:30:00.123Z\r\n',
}
