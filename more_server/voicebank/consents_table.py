"""Consents in the database that servers share, each a row with its recording."""

from collections.abc import Callable, Iterator

import msgspec
import structlog

from more_server.errors import StorageError
from more_server.files import locked
from more_server.settings import Settings
from more_server.shared.database import transaction
from more_server.voicebank.consents import Consent, Consents, FolderShelf

MOVE_SECONDS = 300.0
"""For another process of this machine that moves them."""
AT_A_TIME = 101
"""Rows that are asked for; a page has 100 at most, and one more tells whether there are others."""

log = structlog.get_logger("more_server.voicebank")


class TableShelf:
    """Every server's."""

    def __init__(self, address: str) -> None:
        self._address = address

    def latest(self, after: str) -> Iterator[tuple[str, bytes]]:
        """Ids and what is told of them, as JSON, the latest first, from the one after `after` on; empty: all.

        Raises StorageError.
        """
        since = "SELECT id, consent FROM more_consents WHERE %(after)s = '' OR id < %(after)s"
        page = f"{since} ORDER BY id DESC LIMIT %(most)s"
        rows = [(after, b"")] * AT_A_TIME
        while len(rows) == AT_A_TIME:
            with transaction(self._address) as connection:
                rows = connection.execute(page, {"after": rows[-1][0], "most": AT_A_TIME}).fetchall()
            for consent_id, content in rows:
                yield consent_id, bytes(content)

    def read(self, consent_id: str) -> bytes | None:
        """What is told of one, as JSON; None: there is none. Raises StorageError."""
        with transaction(self._address) as connection:
            found = connection.execute("SELECT consent FROM more_consents WHERE id = %s", [consent_id]).fetchone()
            return None if found is None else bytes(found[0])

    def add(self, consent: Consent, recording: bytes) -> None:
        """Keep a new one; one that is there stays as it is. Raises StorageError."""
        row = [consent.id, msgspec.json.encode(consent), recording]
        with transaction(self._address) as connection:
            connection.execute("INSERT INTO more_consents VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", row)

    def change(self, consent_id: str, change: Callable[[bytes], bytes]) -> bytes | None:
        """Tell something else of one, and what that is; None: there is none. Raises StorageError."""
        with transaction(self._address) as connection:
            held = "SELECT consent FROM more_consents WHERE id = %s FOR UPDATE"
            found = connection.execute(held, [consent_id]).fetchone()
            if found is None:
                return None
            changed = change(bytes(found[0]))
            connection.execute("UPDATE more_consents SET consent = %s WHERE id = %s", [changed, consent_id])
            return changed

    def remove(self, consent_id: str) -> bool:
        """Delete one with its recording; False: there is none. Raises StorageError."""
        with transaction(self._address) as connection:
            return connection.execute("DELETE FROM more_consents WHERE id = %s", [consent_id]).rowcount == 1


def consents_of(settings: Settings) -> Consents:
    """Where a server keeps them."""
    return Consents(TableShelf(settings.database) if settings.database else FolderShelf(settings.admin_dir))


def move_consents(settings: Settings) -> None:
    """Move what was given on this machine before there was a database into it.

    Raises StorageError; what was not moved then is by the next call.
    """
    folder, table = FolderShelf(settings.admin_dir), TableShelf(settings.database)
    with locked(settings.admin_dir / "consents-moving", seconds=MOVE_SECONDS):  # workers start at the same time
        for consent_id, _ in list(folder.latest("")):
            try:
                consent = Consents(folder).find(consent_id)
                recording = folder.recording(consent)
            except StorageError as error:
                log.warning("a consent of this machine stays here", consent=consent_id, reason=error.message)
                continue
            table.add(consent, recording)
            folder.remove(consent_id)  # or else its removal through another machine would leave a recording here
            log.info("a consent of this machine is in the database now", consent=consent_id)
