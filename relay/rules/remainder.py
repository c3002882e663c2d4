"""Decides which lanes stay on the agenda after a claim. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(slots=True)
class Remainder:
    """The lanes of a claim, sorted by what it says about them.

    - `nothing`: lanes that got nothing and may have something due. They are the first to be asked
      again.
    - `more`: lanes that got something and may have more.
    - `empty`: lanes that had nothing more due.
    - `looked_through`: lanes whose floor is dropped. The next claim looks at them from the
      beginning.
    - `look_now`: at least one lane was looked at from its floor on only. Look at it from its
      beginning at once.
    """

    nothing: list[UUID] = field(default_factory=list)
    more: list[UUID] = field(default_factory=list)
    empty: list[UUID] = field(default_factory=list)
    looked_through: list[UUID] = field(default_factory=list)
    look_now: bool = False


def remainder(
    asked: Sequence[tuple[UUID, int]],
    floors: Sequence[datetime | None],
    got: Mapping[UUID, int],
    waits: Container[UUID],
    *,
    full: bool,
) -> Remainder:
    """Sorts the lanes of a claim.

    - `asked`: the lanes, with how many deliveries were asked of each, from these `floors` on.
    - `got`: how many were claimed.
    - `waits`: lanes of which nothing, or nothing more, may be claimed yet.
    - `full`: as many were claimed as there was room for, so no lane is known to be empty.
    """
    left = Remainder()
    for (webhook_id, share), floor in zip(asked, floors, strict=True):
        taken = got.get(webhook_id, 0)
        may_have_more = left.more if taken else left.nothing
        if webhook_id not in waits:
            if full or taken >= share:
                may_have_more.append(webhook_id)
                continue
            left.empty.append(webhook_id)
            if floor is not None:
                may_have_more.append(webhook_id)
                left.look_now = True
        left.looked_through.append(webhook_id)
    return left
