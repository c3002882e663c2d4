"""The values by which the example of one route's answer differs from the example of its type."""

from collections.abc import Mapping
from typing import Any

from service import __version__
from service.documents.examples import OCCURRED_AT
from service.documents.type_examples import HERE, LATER, SOMEBODY, SUPERVISOR, THERE

_APPROVED = {"status": "approved", "approved_by": SUPERVISOR, "approved_at": LATER, "updated_at": LATER}
_DISPATCHED = {**_APPROVED, "status": "in_transit", "dispatched_by": SOMEBODY, "dispatched_at": LATER}
_AUTHORIZED = {"status": "active", "authorized_by": SUPERVISOR, "authorized_at": LATER, "updated_at": LATER}
_GRACE = {"username": "grace", "email": "grace@example.org", "full_name": "Grace H.", "role": "supervisor"}

BY_ROUTE: Mapping[str, Mapping[str, Any]] = {
    "POST /users": {"id": SUPERVISOR, **_GRACE},
    "PUT /users/{id}": {"role": "foreman"},
    "GET /users/{id}/sessions": {"current": False},
    "POST /auth/refresh": {"message": "tokens renewed"},
    "POST /auth/logout": {"message": "signed out"},
    "POST /auth/logout-all": {"message": "signed out of 2 sessions"},
    "POST /auth/password": {"message": "password changed", "endedSessions": 1},
    "POST /items": {"quantity": 12, "reserved_quantity": 0, "created_at": OCCURRED_AT},
    "PUT /items/{id}/location": {"location_id": THERE},
    "PUT /locations/{id}": {"address": "Linden Road 6"},
    "PUT /categories/{id}": {"name": "Pumps and hoses"},
    "POST /transfers/{id}/approve": _APPROVED,
    "POST /transfers/{id}/reject": {
        "status": "rejected",
        "rejected_by": SUPERVISOR,
        "rejected_at": LATER,
        "rejection_reason": "The other site needs them more",
        "updated_at": LATER,
    },
    "POST /transfers/{id}/dispatch": _DISPATCHED,
    "POST /transfers/{id}/complete": {
        **_DISPATCHED,
        "status": "completed",
        "completed_by": SUPERVISOR,
        "completed_at": LATER,
        "to_item_id": "0198c0d0-11bb-7b2c-8d4e-6f5a4b3c2d1e",
    },
    "POST /transfers/{id}/cancel": {
        "status": "cancelled",
        "cancelled_by": SOMEBODY,
        "cancelled_at": LATER,
        "updated_at": LATER,
    },
    "POST /checkouts/{id}/authorize": _AUTHORIZED,
    "POST /checkouts/{id}/reject": {
        "status": "rejected",
        "rejected_by": SUPERVISOR,
        "rejected_at": LATER,
        "updated_at": LATER,
    },
    "POST /checkouts/{id}/cancel": {
        "status": "cancelled",
        "cancelled_by": SOMEBODY,
        "cancelled_at": LATER,
        "updated_at": LATER,
    },
    "POST /checkouts/{id}/checkin": {
        **_AUTHORIZED,
        "status": "returned",
        "returned_quantity": 1,
        "returned_by": SOMEBODY,
        "returned_at": LATER,
        "returns": {
            "quantity": 1,
            "returned_by": SOMEBODY,
            "location_id": HERE,
            "notes": "Needs a new hose",
            "returned_at": LATER,
        },
    },
    "POST /webhooks": {"message": "Webhook created; keep its secret, it is not shown again"},
    "POST /webhooks/{id}/secret/rotate": {
        "message": "The secret has been rotated; keep the new one, it is not shown again",
        "webhook": {"overlapUntil": "2026-02-19T09:30:00.123Z"},
    },
    "PUT /webhooks/{id}": {"message": "Webhook updated"},
    "POST /webhooks/{id}/events/{eventId}/skip": {
        "event": {
            "deliveryStatus": "failed",
            "message": "The event has been skipped; the later events of its item follow",
        }
    },
    "POST /webhooks/{id}/replay": {"job": {"status": "queued", "done": 0, "startedAt": None}},
    "DELETE /webhooks/{id}/replays/{jobId}": {"job": {"status": "cancelled", "endedAt": LATER}},
    "GET /openapi.json": {"openapi": "3.1.1", "info": {"title": "Jossiedb", "version": __version__}, "paths": {}},
    "GET /asyncapi.json": {"asyncapi": "3.0.0", "info": {"title": "Jossiedb's webhooks", "version": __version__}},
}
