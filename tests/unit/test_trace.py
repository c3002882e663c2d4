import pytest

from service.platform import trace

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


def test_a_valid_header_is_taken_and_one_of_a_later_version_is_read_as_the_first() -> None:
    assert trace.parse(VALID) == VALID
    assert trace.parse(f" {VALID} ") == VALID
    assert trace.parse(f"cc-{TRACE}-{PARENT}-01-what-the-future-brings") == VALID


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        VALID.upper(),
        f"ff-{TRACE}-{PARENT}-01",
        f"{VALID}-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
    ],
)
def test_any_other_is_ignored(header: str | None) -> None:
    assert trace.parse(header) is None
    assert trace.child(header) is None


def test_a_child_has_the_trace_and_the_flags_and_a_parent_of_its_own() -> None:
    children = {trace.child(VALID) for _ in range(50)}
    assert len(children) == 50
    for child in children:
        assert trace.parse(child) == child
        assert child is not None
        version, trace_id, parent, flags = child.split("-")
        assert (version, trace_id, flags) == ("00", TRACE, "01")
        assert parent != PARENT
