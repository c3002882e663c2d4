"""Transfers over HTTP."""

from service.api.call import Call, Nothing, Reply, tagged
from service.api.paging import cursor_page_headers
from service.api.routes import Route, route
from service.transfers import commands, reads
from service.transfers.models import TransferQuery, TransferRejection, TransferRequest
from service.transfers.rules import DECIDERS, TransferView, view


async def list_transfers(call: Call[Nothing, TransferQuery]) -> Reply:
    found, total = await reads.list_transfers(call.pool, call.user, call.query)
    return Reply(
        [view(transfer) for transfer in found],
        headers=cursor_page_headers(call.request, call.query, total, [transfer.id for transfer in found]),
    )


async def request_transfer(call: Call[TransferRequest, Nothing]) -> Reply:
    return tagged(view(await commands.request(call.pool, call.origin, call.user, call.body)), status=201)


async def get_transfer(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(view(await reads.get_transfer(call.pool, call.user, call.path_id())))


async def approve_transfer(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(view(await commands.approve(call.pool, call.origin, call.user, call.path_id())))


async def reject_transfer(call: Call[TransferRejection, Nothing]) -> Reply:
    return tagged(view(await commands.reject(call.pool, call.origin, call.user, call.path_id(), call.body.reason)))


async def dispatch_transfer(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(view(await commands.dispatch(call.pool, call.origin, call.user, call.path_id())))


async def complete_transfer(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(view(await commands.complete(call.pool, call.origin, call.user, call.path_id())))


async def cancel_transfer(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(view(await commands.cancel(call.pool, call.origin, call.user, call.path_id())))


ROUTES: tuple[Route, ...] = (
    route("GET", "/transfers", list_transfers, "List transfers", query=TransferQuery, returns=list[TransferView]),
    route(
        "POST",
        "/transfers",
        request_transfer,
        "Request a transfer",
        body=TransferRequest,
        returns=TransferView,
        status=201,
    ),
    route("GET", "/transfers/{id}", get_transfer, "Get a transfer", returns=TransferView),
    route(
        "POST",
        "/transfers/{id}/approve",
        approve_transfer,
        "Approve a transfer",
        returns=TransferView,
        roles=DECIDERS,
    ),
    route(
        "POST",
        "/transfers/{id}/reject",
        reject_transfer,
        "Reject a transfer",
        body=TransferRejection,
        returns=TransferView,
        roles=DECIDERS,
    ),
    route("POST", "/transfers/{id}/dispatch", dispatch_transfer, "Send a transfer off", returns=TransferView),
    route("POST", "/transfers/{id}/complete", complete_transfer, "Complete a transfer", returns=TransferView),
    route("POST", "/transfers/{id}/cancel", cancel_transfer, "Cancel a transfer", returns=TransferView),
)
