"""What a route says of itself for the OpenAPI document (web/openapi.py): beside its scope, in `opt`.

    @patch("/v1/admin/voices/{voice_id:str}", opt=described(ADMIN, body=ChangeBody, answer=VoiceEntry, errors=FAULTS))

Its path, method, parameters, status and summary are read from the handler; what every route of a scope may answer,
such as 401, is not said again.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from more_server.errors import MoreError


class FormBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body of the type multipart/form-data."""

    texts: Sequence[str] = ()
    """Names of fields."""
    files: Sequence[str] = ()
    """Names of fields that are files; each may come several times."""
    needed: Sequence[str] = ()
    """Of both, those without which nothing is done."""


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """JSON messages of a WebSocket."""

    from_client: Sequence[type[msgspec.Struct]]
    from_server: Sequence[type[msgspec.Struct]]


class Doc(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler's signature does not tell."""

    answer: Any = None
    """A type that is sent as JSON, a string that is a media type, or a tuple of such; None: no body."""
    also: Mapping[int, Any] = {}
    """Answers with other statuses than the handler's own, which are no errors of the tree; in the same form."""
    body: Any = None
    """A type that is read as JSON, a FormBody, a string that is a media type, or a tuple of such; None: no body."""
    body_needed: bool = True
    query: Mapping[str, Any] = {}
    """Of parameters that the signature has with a plainer type, what is really allowed, and what they are."""
    headers: Mapping[str, Any] = {}
    """Request headers that are read; with `| None`, they may be absent."""
    errors: Sequence[type[MoreError]] = ()
    """Beside those of the scope, of a body and of parameters."""
    events: Sequence[type[msgspec.Struct]] = ()
    """Data of the events, where the answer is a stream of such."""
    messages: Messages | None = None

    def __deepcopy__(self, memo: object) -> "Doc":
        # Litestar copies a handler with all that it has; types with msgspec.Meta cannot be.
        return self


def described(scope: Mapping[str, str], **told: Any) -> dict[str, Any]:
    """A route's `opt`; told: fields of Doc."""
    return {**scope, "doc": Doc(**told)}


def said(kind: Any, description: str, **bounds: Any) -> Any:
    """A type of a parameter or header, with what it is and what msgspec.Meta takes as bounds."""
    return Annotated[kind, msgspec.Meta(description=description, **bounds)]


def each(told: Any) -> tuple[Any, ...]:
    """What an answer or a body may be, one by one."""
    return told if isinstance(told, tuple) else () if told is None else (told,)
