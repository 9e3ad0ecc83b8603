"""MaryTTS's HTTP API, for clients that know nothing newer, such as Home Assistant's `marytts`.

They are given this server's host and port, a locale that its model speaks, and one of its voices or none.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from more_server import Context, hookimpl

enabled_by_default = False

UNCHOSEN = "cmu-slt-hsmm"
"""What Home Assistant's component and speak2mary ask for where nobody chose a voice."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    voices: dict[str, str] = msgspec.field(default_factory=lambda: {UNCHOSEN: ""})
    """Voices that clients were set up with for MaryTTS, and those that speak for them; empty: the default voice."""
    needs_key: bool = True
    """Where the server has keys, one is asked for. These clients can send none: false lets in whoever gets here."""


@hookimpl
def routes(context: Context) -> Sequence[Any]:
    """`/process`, `/voices`, `/locales` and `/version`, at the root of the server, where these clients look."""
    # In a file of another name: a module `routes` would take the place of this function once it is imported.
    from more_marytts.handlers import handlers

    return handlers(context.server, context.settings)
