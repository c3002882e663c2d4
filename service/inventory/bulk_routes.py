"""The route that changes many items in one request: its body and its answer."""

import time
from asyncio import sleep
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import Field, GetJsonSchemaHandler, TypeAdapter
from typing_extensions import TypedDict

from service.api.call import Call, Nothing, Reply
from service.api.fields import Body, Count, Id
from service.api.parsing import parse_object
from service.api.problems import shown
from service.api.slices import SLICE_SECONDS
from service.api.unknown import HEADER as IGNORED
from service.api.unknown import header_value
from service.inventory.commands import bulk
from service.inventory.commands.bulk import Change
from service.inventory.models import ItemCreate, ItemUpdate
from service.platform.errors import BadRequest, FieldError, Problem

MAX_OPERATIONS = 500
MAX_BYTES = 2 * 1024 * 1024
# An operation with the longest texts that an item may have is far smaller.
MAX_OPERATION_BYTES = 64 * 1024
# How many errors and how many failed operations an answer names, if nothing was done.
MAX_NAMED = 20


class CreateOperation(Body):
    op: Literal["create"]
    item: ItemCreate


class UpdateOperation(Body):
    """`item` has the fields to change."""

    op: Literal["update"]
    id: Id
    item: ItemUpdate


class CountOperation(Body):
    """Sets the item's quantity to the number of units that were counted."""

    op: Literal["count"]
    id: Id
    quantity: Count


Operation = Annotated[CreateOperation | UpdateOperation | CountOperation, Field(discriminator="op")]
_MODELS: dict[str, type[CreateOperation | UpdateOperation | CountOperation]] = {
    "create": CreateOperation,
    "update": UpdateOperation,
    "count": CountOperation,
}


class _Documented:
    """Shows the operations in the OpenAPI document. The body is parsed without checking them. Each
    operation is checked by itself afterwards, so that a wrong one need not fail the others."""

    @staticmethod
    def __get_pydantic_json_schema__(_: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(TypeAdapter(Operation).core_schema)


class Bulk(Body):
    """In `mode` "all", all operations are done, or none. In `mode` "each", each succeeds or fails
    by itself. Both modes use one transaction."""

    mode: Literal["all", "each"] = "all"
    operations: Annotated[list[Annotated[Any, _Documented]], Field(min_length=1, max_length=MAX_OPERATIONS)]


class ProblemView(TypedDict):
    """A problem of RFC 9457. The pointers of its errors lead into the body of the request."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]]


class Result(TypedDict):
    """The result of the operation at `index`. `status` is the status with which a request for this
    operation alone would be answered. `id` is null if there is no item."""

    index: int
    status: int
    id: str | None
    problem: ProblemView | None


class BulkReply(TypedDict):
    succeeded: int
    failed: int
    results: list[Result]


async def change_items(call: Call[Bulk, Nothing]) -> Reply:
    changes, ignored = await _parsed(call.body.operations)
    all_or_none = call.body.mode == "all"
    outcomes = await bulk.run(call.pool, call.origin, changes, all_or_none=all_or_none)
    results = [
        _result(index, change, outcome) for index, (change, outcome) in enumerate(zip(changes, outcomes, strict=True))
    ]
    failed = [result for result in results if result["problem"] is not None]
    if failed and all_or_none:
        raise _refusal(outcomes, failed)
    body: BulkReply = {"succeeded": len(results) - len(failed), "failed": len(failed), "results": results}
    return Reply(body, headers={IGNORED: header_value(ignored)} if ignored else {})


async def _parsed(operations: Sequence[Any]) -> tuple[list[Change | Problem], list[str]]:
    """The change or the problem of each operation, and the names of the fields that have no
    effect."""
    changes: list[Change | Problem] = []
    ignored: dict[str, None] = {}
    end = time.perf_counter() + SLICE_SECONDS
    for index, operation in enumerate(operations):
        try:
            change, names = _change(operation)
            changes.append(change)
            ignored.update(dict.fromkeys(f"operations[].{name}" for name in names))
        except BadRequest as problem:
            changes.append(_within(problem, f"/operations/{index}"))
        if time.perf_counter() > end:
            await sleep(0)
            end = time.perf_counter() + SLICE_SECONDS
    return changes, list(ignored)


def _change(operation: Any) -> tuple[Change, list[str]]:
    """Raises BadRequest with pointers into the operation."""
    if not isinstance(operation, dict):
        raise BadRequest("must be an object")
    model = _MODELS.get(op) if isinstance(op := operation.get("op"), str) else None
    if model is None:
        raise BadRequest.at("/op", "must be create, update or count")
    try:
        size = len(orjson.dumps(operation))
    except TypeError:
        raise BadRequest("is nested too deep") from None
    if size > MAX_OPERATION_BYTES:
        raise BadRequest(f"may be at most {MAX_OPERATION_BYTES} bytes, and this is {size}")
    parsed, ignored = parse_object(model, operation)
    match parsed:
        case CreateOperation(item=item):
            return Change("create", None, item.model_dump()), ignored
        case UpdateOperation(id=id, item=item):
            return Change("update", id, item.model_dump(exclude_unset=True)), ignored
        case CountOperation(id=id, quantity=quantity):
            return Change("count", id, {"quantity": quantity}), ignored
    raise AssertionError(op)


def _within(problem: Problem, pointer: str) -> Problem:
    """The same problem, with pointers into the body. `pointer` leads to the object that its own
    pointers begin at."""
    errors = [FieldError(pointer + error.pointer, error.detail) for error in problem.errors]
    return type(problem)(problem.detail, errors=errors or [FieldError(pointer, problem.detail)])


def _result(index: int, change: Change | Problem, outcome: UUID | Problem) -> Result:
    known = change.id if isinstance(change, Change) else None
    if isinstance(outcome, UUID):
        return {"index": index, "status": 201 if known is None else 200, "id": str(outcome), "problem": None}
    problem: Any = shown(outcome if outcome is change else _in_item(index, change, outcome))
    del problem["error"]
    return {"index": index, "status": outcome.status, "id": str(known) if known else None, "problem": problem}


def _in_item(index: int, change: Change | Problem, problem: Problem) -> Problem:
    """The problem of a command, with pointers into the body. Its own pointers begin at the item."""
    inner = "/item" if isinstance(change, Change) and change.op != "count" else ""
    pointer = f"/operations/{index}"
    return _within(problem, pointer + inner if problem.errors else pointer)


def _refusal(outcomes: Sequence[UUID | Problem], failed: Sequence[Result]) -> Problem:
    """A problem of the same type as that of the first failure, with the first errors of all
    failures."""
    kind = next(type(outcome) for outcome in outcomes if isinstance(outcome, Problem))
    errors = [
        FieldError(error["pointer"], error["detail"])
        for result in failed
        if result["problem"] is not None
        for error in result["problem"]["errors"]
    ]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    refusal = kind(
        f"nothing was done, as operation {failed[0]['index']} cannot be{more}: {errors[0].detail}",
        errors=errors[:MAX_NAMED],
    )
    refusal.members = {"failed": len(failed), "results": failed[:MAX_NAMED]}
    return refusal
