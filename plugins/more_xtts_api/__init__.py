"""xtts-api-server's HTTP API, for its clients, such as SillyTavern's TTS provider `XTTSv2`.

They are given this server's address without a path. Temperature and the like are taken and left out: here they belong
to the quality profiles. The speed that one client sets counts for everybody who asks here, as it did there, until the
server or this plugin starts anew. Whatever changed models and folders there is not here.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from more_server import Context, hookimpl

enabled_by_default = False


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    needs_key: bool = True
    """Where the server has keys, one is asked for. SillyTavern streams without it: false lets in whoever gets here."""


@hookimpl
def routes(context: Context) -> Sequence[Any]:
    """`/tts_to_audio`, `/tts_stream`, settings and lists, at the root of the server, where these clients look."""
    # In a file of another name: a module `routes` would take the place of this function once it is imported.
    from more_xtts_api.handlers import handlers

    return handlers(context.server, context.settings)
