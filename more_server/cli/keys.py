"""`keys`: who may use the server."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import App, Parameter

from more_server.cli.output import console, decided, table

app = App(name="keys", help="List, make and remove keys.", help_format="plaintext")


@app.command(name="list")
def list_keys() -> None:
    """Show the keys, without their secrets, which are kept nowhere."""
    from more_server.keys import KeyRing

    ring = KeyRing(decided())
    used = ring.last_used()
    made = table("id", "name", "scopes", "requests a minute", "at a time", "made", "last used")
    for key in ring.all():
        limits = (str(limit or "any") for limit in (key.rate_per_minute, key.concurrency))
        made.add_row(key.id, key.name, " ".join(key.scopes), *limits, _when(key.created), _when(used.get(key.id)))
    if ring.any():
        console().print(made)
    else:
        console().print("There is no key, so nobody needs one. `more-server keys add NAME --scope admin` makes one")


@app.command
def add(
    name: str,
    /,
    *,
    scope: Annotated[
        tuple[Literal["speech", "voices", "admin"], ...], Parameter(negative="", consume_multiple=False)
    ] = ("speech",),
    rate: int | None = None,
    concurrency: int | None = None,
) -> None:
    """Make a key. It counts at once, in a running server too; from the first one on nobody gets in without.

    Parameters
    ----------
    name
        What you call it, such as the program that gets it.
    scope
        What it may do; give it several times for several. admin includes the others, and the first key needs it.
    rate
        Requests in any 60 seconds; left out: no limit.
    concurrency
        Requests at the same time, streams to their end; left out: no limit.
    """
    from more_server.audit import COMMAND_LINE, AuditLog
    from more_server.keys import KeyRing, new_key

    loaded = decided()
    key, secret = new_key(name, scope, rate, concurrency)
    ring = KeyRing(loaded)
    with AuditLog(loaded.admin_dir, loaded.database).change(COMMAND_LINE, "keys.create", key.id, key.shown()):
        ring.add(key)
    console().print(secret)
    console().print(
        f"\nThat is the secret of {key.name} ({key.id}); it is shown this once and kept nowhere. Programs send it as\n"
        "    Authorization: Bearer more_…\n"
        "and OpenAI's clients take it as api_key, or from OPENAI_API_KEY."
    )


@app.command
def remove(key_id: str, /) -> None:
    """Remove a key: the next request with it is refused.

    Parameters
    ----------
    key_id
        An id of `more-server keys list`.
    """
    from more_server.audit import COMMAND_LINE, AuditLog
    from more_server.keys import KeyRing

    loaded = decided()
    ring = KeyRing(loaded)
    key = ring.find(key_id)
    with AuditLog(loaded.admin_dir, loaded.database).change(COMMAND_LINE, "keys.delete", key.id, {"name": key.name}):
        ring.revoke(key.id)
    console().print(f"{key.name} ({key.id}) is gone")
    if not ring.any():
        console().print("There is no key any more, so nobody needs one.")


def _when(seconds: int | None) -> str:
    return "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
