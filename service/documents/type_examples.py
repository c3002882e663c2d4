"""The values in the examples of answers, by the name of a field and by the name of a type."""

from collections.abc import Mapping
from typing import Any

import orjson

from service import __version__
from service.documents import examples
from service.documents.examples import EVENT_ID, EXAMPLES, OCCURRED_AT, SECRET, WEBHOOK_ID

_ID: Mapping[str, Any] = {name: value for name, value in examples.FIELDS.items() if name.endswith("Id")}
HERE, THERE = examples.FIELDS["fromLocation"], examples.FIELDS["toLocation"]
SOMEBODY, SUPERVISOR = examples.FIELDS["userId"], examples.FIELDS["approvedBy"]
_EARLIER, LATER = "2026-02-01T08:00:00.000Z", "2026-02-18T11:45:10.042Z"
_ATTEMPTED_AT, _ENDED_AT = "2026-02-18T09:30:00.141Z", "2026-02-18T09:30:00.187Z"
_DELIVERY = EXAMPLES["low-stock-alert"]
_BROWSER = "Mozilla/5.0"
# This is no valid token, because it lacks a signature.
_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…"  # noqa: S105

# The value of each field for which neither its type nor its route has one. Without a value in any
# of the three, a field that may be null is null.
FIELDS: Mapping[str, Any] = {
    **examples.FIELDS,
    "created_at": OCCURRED_AT,
    "updated_at": OCCURRED_AT,
    "createdAt": OCCURRED_AT,
    "updatedAt": OCCURRED_AT,
    "item_id": _ID["itemId"],
    "skip": 0,
    "limit": 50,
    "total": 1,
}
_ITEM = {
    "id": _ID["itemId"],
    "name": "Hydraulic pump",
    "sku": "HP-100",
    "serial_number": None,
    "description": None,
    "quantity": 4,
    "reserved_quantity": 1,
    "min_quantity": 10,
    "condition": "good",
    "status": "available",
    "purchase_date": "2026-02-18",
    "category_id": _ID["categoryId"],
    "location_id": HERE,
    "attributes": {"power": "4 kW"},
    "created_at": _EARLIER,
    "updated_at": OCCURRED_AT,
}
_CATEGORY = {"id": _ID["categoryId"], "name": "Pumps", "description": None, "parent_id": None}
_PERSON = {"id": SOMEBODY, "username": "ada"}
_QUANTITIES = {"quantity": 4, "reserved_quantity": 1, "available": 3}
_COUNTS = {
    "totalEvents": 1204,
    "successfulDeliveries": 1201,
    "failedDeliveries": 3,
    "successRate": "99.75",
    "lastDelivery": _ATTEMPTED_AT,
    "lastFailure": "2026-02-17T16:02:44.310Z",
}
_NOTHING_YET = {
    "totalEvents": 0,
    "successfulDeliveries": 0,
    "failedDeliveries": 0,
    "successRate": "0.00",
    "lastDelivery": None,
    "lastFailure": None,
}
_WEBHOOK = {"id": WEBHOOK_ID, "events": ["low-stock-alert"], "active": True, "createdAt": _EARLIER}
_WEBHOOK_IN_FULL = {
    **_WEBHOOK,
    "headers": {"Authorization": "[set]"},
    "timeout": 30000,
    "rateLimit": None,
    "disabled": None,
    "failingSince": None,
    "blockedItems": 0,
}
_EVENT = {"id": EVENT_ID, "eventType": "low-stock-alert"}
_DELIVERED = {
    **_EVENT,
    "data": _DELIVERY.payload["data"],
    "deliveryStatus": "success",
    "deliveryAttempts": 1,
    "lastAttempt": _ATTEMPTED_AT,
}

BY_TYPE: Mapping[str, Mapping[str, Any]] = {
    "Actor": _PERSON,
    "AttemptRequest": {
        "headers": {
            "Authorization": "[set]",
            "Content-Type": "application/json",
            **{name: "[set]" if "ignature" in name else text for name, text in _DELIVERY.headers.items()},
        },
        "body": orjson.dumps(_DELIVERY.payload).decode(),
    },
    "AttemptResponse": {"statusCode": 200, "headers": [["Content-Type", "text/plain"]], "body": "ok"},
    "AttemptView": {
        "attempt": 1,
        "outcome": "success",
        "startedAt": _ATTEMPTED_AT,
        "recordedAt": _ENDED_AT,
        "error": None,
    },
    "AuditEntry": {
        "id": "0198c0de-7a10-7c3e-9f00-5b7d3c2a1e10",
        "at": OCCURRED_AT,
        "action": "update",
        "entity": "item",
        "entity_id": _ID["itemId"],
        "before": {**_ITEM, "quantity": 12, "updated_at": _EARLIER},
        "after": _ITEM,
        "ip_address": "203.0.113.7",
        "request_id": "0198c0de-79f0-7c3e-9f00-5b7d3c2a1e10",
        "event_ids": [EVENT_ID],
    },
    "Breaker": {"state": "closed", "consecutiveFailures": 0, "openedAt": None},
    "BreakerSummary": {"state": "closed"},
    "BulkReply": {"succeeded": 3, "failed": 0},
    "CategoryNode": {
        **_CATEGORY,
        "children": [
            {
                **_CATEGORY,
                "id": "0198c0d0-44ee-7b2c-8d4e-6f5a4b3c2d1e",
                "name": "Submersible pumps",
                "parent_id": _ID["categoryId"],
                "created_at": _EARLIER,
                "updated_at": _EARLIER,
                "children": [],
            }
        ],
    },
    "CategoryView": _CATEGORY,
    "CheckoutView": {
        "id": _ID["checkoutId"],
        "user_id": SOMEBODY,
        "requested_by": SOMEBODY,
        "quantity": 1,
        "returned_quantity": 0,
        "status": "pending_authorization",
        "overdue": False,
        "expected_return_date": "2030-03-01",
        "destination_location_id": THERE,
        "project_id": "linden-school",
        "returns": [],
    },
    "Counted": {"count": 37, "byType": {"low-stock-alert": 37}, "oldest": OCCURRED_AT, "newest": LATER},
    "Created": {**_WEBHOOK_IN_FULL, "statistics": _NOTHING_YET, "createdAt": OCCURRED_AT, "secret": SECRET},
    "DeliveryDetail": {**_DELIVERED, "error": None},
    "DeliveryView": {**_DELIVERED, "error": None},
    "Detail": _WEBHOOK_IN_FULL,
    "DeviceStats": {"device": _BROWSER, "sessions": 2, "active": 1, "last_used_at": OCCURRED_AT},
    "ExplainedEvent": {**_EVENT, "routedAt": "2026-02-18T09:30:00.131Z"},
    "ExplainedWebhook": {"id": WEBHOOK_ID, "active": True, "createdAt": _EARLIER},
    "Explanation": {
        "delivered": False,
        "reason": "filtered",
        "basis": "configuration",
        "detail": "the filter minStockThreshold does not let it through",
    },
    "FilteredView": {"name": "minStockThreshold", "wanted": 3, "found": 4},
    "FiltersView": {"locations": [], "categories": [], "minStockThreshold": 5},
    "Health": {"status": "ok"},
    "HttpResponse": {"statusCode": 200, "body": "ok"},
    "ItemView": _ITEM,
    "ImportReport": {
        "dry_run": True,
        "lines": 2,
        "created": 1,
        "updated": 0,
        "bad_lines": 1,
    },
    "LineProblem": {"line": 3, "column": "sku", "detail": "another item at this location has the sku HH-20"},
    "Result": {"index": 0, "status": 201, "id": _ID["itemId"], "problem": None},
    "Job": {
        "id": "0198c0d7-99cc-7b2c-8d4e-6f5a4b3c2d1e",
        "status": "running",
        "total": 37,
        "done": 12,
        "error": None,
        "createdAt": LATER,
        "startedAt": LATER,
    },
    "LocationSummary": {"name": "Hydraulic pump", "sku": "HP-100"},
    "LocationView": {
        "id": HERE,
        "name": "Site Linden School",
        "address": "Linden Road 4",
        "foremen": [SUPERVISOR],
    },
    "Move": {"from_location_id": HERE, "to_location_id": THERE, "at": OCCURRED_AT},
    "Mover": _PERSON,
    "Owner": _PERSON,
    "Place": {"location_id": HERE, "location_name": "Site Linden School", **_QUANTITIES},
    "Quantities": _QUANTITIES,
    "RateLimitView": {"perSecond": 10, "burst": 50},
    "Rates": {"delivered": 41.7, "attempted": 42.0},
    "RelayView": {
        "id": "0198c0d8-aadd-7b2c-8d4e-6f5a4b3c2d1e",
        "version": __version__,
        "host": "warehouse-1",
        "startedAt": _EARLIER,
        "seenAt": OCCURRED_AT,
        "alive": True,
        "leader": True,
        "inFlight": 3,
        "delivered": 48211,
        "attempted": 48260,
    },
    "Request": {"since": "2026-02-18T09:30:00.000Z", "until": LATER, "status": "missing", "types": None},
    "Retried": {
        **_EVENT,
        "deliveryStatus": "pending",
        "deliveryAttempts": 4,
        "message": "The event has been queued for delivery",
    },
    "RetryPolicyView": {"maxRetries": 3, "retryDelay": 5000},
    "SessionReply": {"valid": True, "sessionId": _ID["sessionId"], "expiresAt": "2026-03-20T09:30:00.123Z"},
    "SessionStats": {
        "total": 3,
        "active": 1,
        "expired": 1,
        "ended": {"logout": 1},
        "last_login": OCCURRED_AT,
    },
    "SessionView": {
        "id": _ID["sessionId"],
        "current": True,
        "last_used_at": OCCURRED_AT,
        "expires_at": "2026-03-20T09:30:00.123Z",
        "user_agent": _BROWSER,
        "ip_address": "203.0.113.7",
    },
    "SignedInReply": {
        "token": _TOKEN,
        "refreshToken": _TOKEN,
        "sessionId": _ID["sessionId"],
        "message": "signed in",
    },
    "Statistics": _COUNTS,
    "Stats": {**_COUNTS, "successCount": 412, "failedCount": 1, "pendingCount": 0},
    "StreamEvent": {
        **_EVENT,
        "data": _DELIVERY.payload["data"],
        "position": "42",
        "signature": _DELIVERY.headers["X-Webhook-Signature"],
    },
    "StreamReply": {"next": "42"},
    "Summary": _WEBHOOK,
    "TestResult": {"success": True, "statusCode": 200, "message": "The receiver answered 200"},
    "Timings": {"dns": 1.2, "connect": 8.4, "tls": 17.9, "firstByte": 44.1, "total": 45.6},
    "TransferView": {
        "id": _ID["transferId"],
        "from_location_id": HERE,
        "to_location_id": THERE,
        "quantity": 2,
        "reason": "The site has run out",
        "status": "pending",
        "requested_by": SOMEBODY,
    },
    "UserView": {"id": SOMEBODY, "full_name": "Ada L.", "status": "active"},
}
