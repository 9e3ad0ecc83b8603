"""The last lines of the log for administrators: `/v1/admin/log`."""

from typing import Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from more_server.errors import BadInput
from more_server.logs import KEPT_LINES, LogLine, RecentLines
from more_server.siblings import Siblings
from more_server.web.admin import ADMIN, answer
from more_server.web.described import described, said

LIMIT = said(int, "Lines, the last ones.", ge=1, le=KEPT_LINES)
AFTER = said(int, "The number of a line; only later ones are listed.", ge=0)


class LogList(msgspec.Struct):
    """`GET /v1/admin/log`, the latest line last."""

    data: list[LogLine]
    started: int
    """Unix seconds; when it changes, the server was started anew, and its lines are counted from 1 again."""
    object: Literal["list"] = "list"


@get("/v1/admin/log", opt=described(ADMIN, answer=LogList, query={"limit": LIMIT, "after": AFTER}))
async def read_log(
    recent_lines: NamedDependency[RecentLines],
    siblings: NamedDependency[Siblings],
    limit: FromQuery[int] = 100,
    after: FromQuery[int] = 0,
) -> Response[bytes]:
    """The last lines of the log, 100 unless `?limit=` says otherwise; with `?after=`, those after that number."""
    if not 1 <= limit <= KEPT_LINES:
        raise BadInput(f"limit is 1 to {KEPT_LINES}", param="limit")
    if after < 0:
        raise BadInput("after is the number of a line, or 0", param="after")
    lines, started = await siblings.log_lines(limit, after) or (recent_lines.tail(limit, after), recent_lines.started)
    response = answer(LogList(list(lines), started))
    response.headers["cache-control"] = "no-store"
    return response
