"""Whether the folder of jobs is the one that all servers of the database have."""

import secrets

from more_server.errors import SettingsError
from more_server.files import LOCK_SECONDS, keep_file, locked, read_file
from more_server.settings import Settings
from more_server.shared.database import prepare, transaction
from more_server.shared.kept import hold, store

IDENTITY = "shared_dir"
"""Row with the name that the first server gave the folder; it is in a file there, too."""


def check_folder(settings: Settings) -> None:
    """Raises SettingsError where others have another one: a job could not go on here that was begun there.

    Raises StorageError, too.
    """
    prepare(settings.database)
    mark = settings.jobs_dir / ".folder"
    with locked(mark, seconds=LOCK_SECONDS), transaction(settings.database) as connection:
        known, ours = hold(connection, IDENTITY), (read_file(mark) or b"").strip()
        if known is None:
            known = ours or secrets.token_hex(16).encode()
            store(connection, IDENTITY, known)
            if not ours:
                keep_file(mark, known)
        elif ours != known:
            raise SettingsError(
                f"{settings.jobs_dir} is not the folder of jobs that the other servers of `database` have: set "
                f"shared_dir to one that all machines see. If it is meant to take that one's place, write "
                f"{known.decode()} into {mark}"
            )
