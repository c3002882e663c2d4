"""The calls that write the events and the audit records of a mutation."""

from uuid import UUID, uuid4

import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.subject import Subject
from service.records import AT_ONCE, NOTHING, Origin, Records

PARTS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 3]), st.integers(0, 3)),
    min_size=1,
    max_size=5,
)


def _records(parts: list[tuple[int, int]]) -> Records:
    """Each part has so many events and so many audit records. Their names say which part it is."""
    records = Records(Origin())
    for part, (events, audits) in enumerate(parts):
        if part:
            records.begin_part()
        for _ in range(events):
            records.event(f"part-{part}", Subject("{}", "other", (), None, (), None, None))
        for _ in range(audits):
            records.audit("update", f"part-{part}", uuid4(), None, {})
    return records


@given(PARTS)
def test_every_audit_record_names_the_events_of_its_part(parts: list[tuple[int, int]]) -> None:
    written: dict[UUID, str] = {}
    named: list[tuple[str, list[UUID]]] = []
    earlier: list[UUID] = []
    for call in _records(parts).calls():
        given = {name: orjson.loads(text) for name, text in call.parameters(earlier if call.continues else ()).items()}
        assert len(given["events"]) <= AT_ONCE
        assert len(given["audits"]) <= AT_ONCE
        new = [uuid4() for _ in given["events"]]
        written |= {event_id: event["type"] for event_id, event in zip(new, given["events"], strict=True)}
        # As record_mutation does.
        ids = [UUID(text) for text in given["author"]["earlier"]] + new
        named += [(audit["entity"], ids[audit["first"] - 1 : audit["last"]]) for audit in given["audits"]]
        earlier = [*earlier, *new] if call.continues else new

    of_part: dict[str, list[UUID]] = {f"part-{number}": [] for number in range(len(parts))} | {
        name: [event_id for event_id, event_type in written.items() if event_type == name] for name in written.values()
    }
    assert [len(of_part[f"part-{number}"]) for number in range(len(parts))] == [events for events, _ in parts]
    assert [entity for entity, _ in named] == [
        f"part-{number}" for number, (_, audits) in enumerate(parts) for _ in range(audits)
    ]
    assert all(ids == of_part[entity] for entity, ids in named)


def test_a_part_that_is_dropped_leaves_nothing() -> None:
    records = _records([(1, 1), (2, 2)])
    records.drop_part()
    [call] = records.calls()
    assert [event["type"] for event in call.events] == ["part-0"]
    assert [audit["entity"] for audit in call.audits] == ["part-0"]


def test_nothing_makes_no_call() -> None:
    assert _records([(0, 0)]).calls() == []
    assert (NOTHING["events"], NOTHING["audits"]) == ("[]", "[]")
