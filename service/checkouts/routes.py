"""Checkouts over HTTP."""

from service.api.call import ADMIN, Call, Nothing, Reply, tagged
from service.api.paging import cursor_page_headers
from service.api.routes import Route, route
from service.api.slices import in_slices
from service.checkouts import commands, reads
from service.checkouts.models import Checkin, CheckoutQuery, CheckoutRequest
from service.checkouts.rules import CheckoutView, checkout_view

_ALL_BUT_PERSONNEL = (ADMIN, "supervisor", "foreman", "worker")


async def list_checkouts(call: Call[Nothing, CheckoutQuery]) -> Reply:
    found, total = await reads.list_checkouts(call.pool, call.user, call.query)
    return Reply(
        await in_slices(found, checkout_view),
        headers=cursor_page_headers(call.request, call.query, total, [checkout.id for checkout in found]),
    )


async def check_out(call: Call[CheckoutRequest, Nothing]) -> Reply:
    created = await commands.check_out(call.pool, call.origin, call.user, call.body.model_dump())
    return tagged(checkout_view(created), status=201)


async def get_checkout(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(checkout_view(await reads.get_checkout(call.pool, call.user, call.path_id())))


async def authorize(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(checkout_view(await commands.authorize(call.pool, call.origin, call.user, call.path_id())))


async def reject(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(checkout_view(await commands.reject(call.pool, call.origin, call.user, call.path_id())))


async def cancel(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(checkout_view(await commands.cancel(call.pool, call.origin, call.user, call.path_id())))


async def check_in(call: Call[Checkin, Nothing]) -> Reply:
    return tagged(checkout_view(await commands.check_in(call.pool, call.origin, call.user, call.path_id(), call.body)))


ROUTES: tuple[Route, ...] = (
    route("GET", "/checkouts", list_checkouts, "List checkouts", query=CheckoutQuery, returns=list[CheckoutView]),
    route(
        "POST",
        "/checkouts/checkout",
        check_out,
        "Check units of an item out",
        body=CheckoutRequest,
        returns=CheckoutView,
        status=201,
        roles=_ALL_BUT_PERSONNEL,
    ),
    route("GET", "/checkouts/{id}", get_checkout, "Get a checkout", returns=CheckoutView),
    route(
        "POST",
        "/checkouts/{id}/authorize",
        authorize,
        "Authorise a checkout that waits for it",
        returns=CheckoutView,
        roles=(ADMIN,),
    ),
    route(
        "POST",
        "/checkouts/{id}/reject",
        reject,
        "Reject a checkout that waits for authorisation",
        returns=CheckoutView,
        roles=(ADMIN,),
    ),
    route(
        "POST",
        "/checkouts/{id}/cancel",
        cancel,
        "Cancel a checkout that waits for authorisation",
        returns=CheckoutView,
        roles=_ALL_BUT_PERSONNEL,
    ),
    route(
        "POST",
        "/checkouts/{id}/checkin",
        check_in,
        "Check units in, all or some",
        body=Checkin,
        returns=CheckoutView,
        roles=_ALL_BUT_PERSONNEL,
    ),
)
