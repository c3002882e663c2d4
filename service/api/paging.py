"""Pages of lists: ?skip&limit, with the total and RFC 8288 links in headers."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from service.api.fields import MAX_INTEGER, Query

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class Page(Query):
    skip: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


def page_headers(request: web.Request, page: Page, total: int) -> dict[str, str]:
    """`X-Total-Count`, and `Link` with first, prev, next and last where they exist."""
    last = max(0, (total - 1) // page.limit * page.limit)
    targets = {"first": 0, "last": last}
    if page.skip > 0:
        targets["prev"] = max(0, page.skip - page.limit)
    if page.skip + page.limit < total:
        targets["next"] = page.skip + page.limit
    links = []
    for relation, skip in targets.items():
        url = request.rel_url.update_query(skip=str(skip), limit=str(page.limit))
        links.append(f'<{url}>; rel="{relation}"')
    return {"X-Total-Count": str(total), "Link": ", ".join(links)}
