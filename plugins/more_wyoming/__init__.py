"""The Wyoming protocol, by which Home Assistant and its voice assistants speak.

Home Assistant's integration "Wyoming Protocol" is given this machine's address and the port. Text that is still being
written is spoken sentence by sentence.

The protocol knows no keys: whoever reaches the port may speak and list voices, though the server has keys. So it binds
this machine's own addresses alone unless `allow_open` says otherwise.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import Context, Service, hookimpl


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    host: str = "127.0.0.1"
    """Address to bind; `0.0.0.0` is all that the machine has."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 10200
    """TCP port; 0 lets the system choose one, which the log tells."""
    allow_open: bool = False
    """Bind an address that other machines reach: everyone there may speak, as this protocol cannot send a key."""
    zeroconf: bool = False
    """Announce the port, so that Home Assistant finds it by itself; needs `pip install 'more-server[zeroconf]'`."""
    connections: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Most connections at a time; further ones are closed at once."""
    header_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 65_536
    """Longest first line of a message; a longer one closes the connection, as do those below."""
    data_bytes: Annotated[int, Meta(ge=1024, le=67_108_864)] = 1_048_576
    """Longest data of a message, which holds the text."""
    payload_bytes: Annotated[int, Meta(ge=0, le=67_108_864)] = 1_048_576
    """Longest payload of a message; it is read and dropped, as nothing that is asked here has one."""
    message_seconds: Annotated[float, Meta(gt=0, le=3600)] = 20.0
    """Seconds from the first byte of a message to its last one."""
    reader_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Seconds that a client may take nothing of what is said to it."""
    # Home Assistant opens a connection for each thing to say; a language model that looks something up may be silent.
    idle_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """Seconds without a message while nothing is said either."""


@hookimpl
def services(context: Context) -> Sequence[Service]:
    """The listener, and what announces it."""
    from more_wyoming.announcer import Announcer
    from more_wyoming.listener import Listener

    settings: Settings = context.settings
    listener = Listener(settings, context.server)
    return [listener, Announcer(settings, listener)] if settings.zeroconf else [listener]
