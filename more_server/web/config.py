"""The configuration for administrators: `/v1/admin/config`."""

from typing import Any, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from more_server.administration import Administration
from more_server.settings import effective
from more_server.web.admin import ADMIN, answer


class Setting(msgspec.Struct):
    """A setting in force; those of plugins are told with the plugins."""

    path: str
    """As in more.toml, such as `server.port`."""
    value: Any
    source: str
    """`default`, a file, or the variable that it was read from."""
    reloadable: bool
    """A reload takes a change up; else it waits for the next start."""


class Configuration(msgspec.Struct):
    """`GET /v1/admin/config`."""

    data: list[Setting]
    object: Literal["list"] = "list"


@get("/v1/admin/config", opt=ADMIN, sync_to_thread=False)
def read_config(administration: NamedDependency[Administration]) -> Response[bytes]:
    """Every setting with its value, where it comes from, and whether a reload takes it up."""
    rows = effective(administration.loaded)
    plain = [
        Setting(path, msgspec.to_builtins(value, enc_hook=str), source, again) for path, value, source, again in rows
    ]
    return answer(Configuration(plain))
