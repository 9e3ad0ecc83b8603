"""The database that servers share: how it is reached, and the tables that are not those of jobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from more_server.errors import DatabaseAway, InUse, SettingsError

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 10
KEEPALIVES = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""Postgres lets go of the lease of a machine that vanished after 25 s; its own default is over two hours."""
WAIT_SECONDS = 5
"""How long a writer waits for one on another machine, as `files.LOCK_SECONDS` for one on this machine."""
SILENCE_SECONDS = 20
"""After which a statement, or what was sent of it, counts as lost: nobody waits for a network that is gone."""
AGAIN_SECONDS = 5.0
"""After which whoever meets a database that is away may try again."""
OPTIONS = f"{KEEPALIVES} -c lock_timeout={WAIT_SECONDS}s -c statement_timeout={SILENCE_SECONDS}s"

PREPARING = 0x6D6F7265
"""Number of the advisory lock under which tables are made: `more`."""
TABLES = """
CREATE TABLE IF NOT EXISTS more_files (name text PRIMARY KEY, content bytea);
CREATE TABLE IF NOT EXISTS more_consents (id text PRIMARY KEY, consent bytea NOT NULL, recording bytea NOT NULL);
CREATE TABLE IF NOT EXISTS more_audit (number bigserial PRIMARY KEY, line bytea NOT NULL);
CREATE UNLOGGED TABLE IF NOT EXISTS more_board
    (name text, question text, at timestamptz NOT NULL, content bytea NOT NULL, PRIMARY KEY (name, question));
"""


@contextmanager
def transaction(address: str) -> "Iterator[psycopg.Connection[Any]]":
    """A connection of its own, for what is changed rarely; committed when the block ends well.

    Raises DatabaseAway, InUse where another server changes the same; SettingsError for an address that is none.
    """
    with reported(), connect(address) as connection:
        yield connection


def connect(address: str, *, autocommit: bool = False) -> "psycopg.Connection[Any]":
    """A connection, which its caller closes. Raises SettingsError for an address that is none, psycopg's own errors."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        given = conninfo_to_dict(address)
    except psycopg.ProgrammingError:  # its text may hold the password
        raise SettingsError("database must be postgresql://user:password@host/name") from None
    if "@" in str(given.get("host", "")):  # else its end would be taken for a host, and told
        raise SettingsError("database must be postgresql://user:password@host/name; a @ in a password is written %40")
    ours: dict[str, Any] = {"application_name": "more-server", "connect_timeout": CONNECT_SECONDS}
    # A host that vanishes after it has acknowledged a question is noticed by the first three, else by the last.
    ours |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    ours |= {"tcp_user_timeout": SILENCE_SECONDS * 1000}
    options = f"{OPTIONS} {given.get('options') or ''}".strip()
    asked = make_conninfo("", **{**ours, **given, "options": options})
    return psycopg.connect(asked, autocommit=autocommit)


@contextmanager
def reported() -> Iterator[None]:
    """What the database refuses is DatabaseAway or InUse, and says why in one line."""
    import psycopg

    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise InUse(f"another server has been changing the same for {WAIT_SECONDS} s", retry_after=1.0) from error
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"the database that servers share cannot be used: {lines[0]}"
        raise DatabaseAway(reason, retry_after=AGAIN_SECONDS) from error


def prepare(address: str) -> None:
    """Make the tables where they are missing. Raises DatabaseAway, SettingsError."""
    with transaction(address) as connection:
        # Who may only use the tables is not asked for the right to make them.
        if connection.execute("SELECT to_regclass('more_board')").fetchone() == (None,):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [PREPARING])
            connection.execute(TABLES)
