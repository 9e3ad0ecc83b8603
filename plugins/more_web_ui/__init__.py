"""The page of this server: speak, voices, jobs and administration in a browser, at the root of its address.

It uses the HTTP API alone, loads nothing from elsewhere, and asks for a key where the server has keys. Whoever may
reach the server may load the page, which shows nothing by itself.
"""

from collections.abc import Sequence
from typing import Any

from more_server import Context, hookimpl


@hookimpl
def routes(context: Context) -> Sequence[Any]:
    """`/`, and its scripts, styles and texts below `/ui`."""
    # In a file of another name: a module `routes` would take the place of this function once it is imported.
    from more_web_ui.pages import handlers

    return handlers()
