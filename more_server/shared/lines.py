"""Lines that are only ever appended, in a table of the database that servers share."""

from more_server.shared.database import transaction


class TableLines:
    """Every server's, in the order in which they were written."""

    def __init__(self, address: str) -> None:
        self._address = address

    def append(self, line: bytes) -> None:
        """Keep a line, with a line break at its end. Raises StorageError."""
        with transaction(self._address) as connection:
            connection.execute("INSERT INTO more_audit (line) VALUES (%s)", [line.rstrip(b"\n")])

    def tail(self, limit: int) -> list[bytes]:
        """The last ones without their line breaks, the latest last. Raises StorageError."""
        with transaction(self._address) as connection:
            found = connection.execute("SELECT line FROM more_audit ORDER BY number DESC LIMIT %s", [limit])
            return [line for (line,) in reversed(found.fetchall())]
