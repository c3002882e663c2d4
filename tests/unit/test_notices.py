"""The notices that a relay writes have the form that the catalogue describes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.record import notices
from relay.record.notices import OPERATIONAL, Notice
from service.delivery.subject import subject_of
from service.events import operations
from service.events.catalogue import CATALOGUE
from service.platform import canonical
from service.platform.ids import new_id

NOW = datetime(2026, 2, 18, 9, 30, 0, 123456, tzinfo=UTC)
ROW: dict[str, Any] = {
    "webhook_id": new_id(),
    "owner_id": new_id(),
    "url": "https://your-app.com/webhooks/inventory?x=%C2%BD",
    "now": NOW,
    "failures": 312,
    "failing_since": NOW,
    "opened_at": NOW,
    "unannounced": 3,
    "unannounced_skips": 1,
    "event_id": new_id(),
    "event_type": "item-created",
    "error": "the receiver answered “500” ½",
}
NO_LAST = {"event_id": None, "event_type": None, "error": None}
NOTICES = [
    notices.disabled(ROW, "gone", notices.why_disabled("gone", NOW), NOW),
    notices.disabled(ROW, "failing", notices.why_disabled("failing", NOW), NOW),
    notices.recovered(ROW),
    notices.delivery_failed(ROW),
    notices.delivery_failed({**ROW, **NO_LAST}),
]


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.type)
def test_what_is_written_is_what_its_model_would_write(notice: Notice) -> None:
    model = CATALOGUE[notice.type]
    assert model.model_validate_json(notice.data, extra="forbid").subject().data == notice.data
    assert canonical.recanonicalise(notice.data)[0] == notice.data


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.type)
def test_it_tells_scheme_and_host_of_the_url_and_no_more(notice: Notice) -> None:
    assert json.loads(notice.data)["url"] == "https://your-app.com"
    assert "inventory" not in notice.data


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.type)
def test_it_concerns_the_webhooks_owner(notice: Notice) -> None:
    subject = subject_of(notice.type, notice.data, None)
    assert (subject.audience, subject.user_ids) == ("user", (str(ROW["owner_id"]),))
    assert (subject.location_ids, subject.category_id, subject.stock) == ((), None, None)


def test_the_relay_writes_every_operational_type_and_takes_no_other_for_one() -> None:
    named = {kind.type for kind in vars(operations).values() if isinstance(kind, type) and hasattr(kind, "type")}
    assert named == set(OPERATIONAL) == {notice.type for notice in NOTICES}
    assert named <= set(CATALOGUE)


def test_the_keys_are_sent_in_this_order() -> None:
    about = ["webhookId", "userId", "url"]
    keys = {notice.type: list(json.loads(notice.data)) for notice in NOTICES}
    assert keys == {
        "webhook-disabled": [*about, "reason", "detail", "failingSince", "timestamp"],
        "webhook-recovered": [*about, "failures", "failingSince", "openedAt", "timestamp"],
        "delivery-failed": [*about, "count", "skipped", "lastEventId", "lastEventType", "lastError", "timestamp"],
    }
    assert json.loads(NOTICES[0].data)["timestamp"] == "2026-02-18T09:30:00.123Z"
