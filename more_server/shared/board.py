"""What servers on several machines tell each other of themselves, a row for each of a few questions."""

from collections.abc import Mapping

from more_server.shared.database import transaction

FRESH_SECONDS = 15
"""How old a row may be: whoever has written none for so long has died, or left."""
KEPT_SECONDS = 600
"""After which anybody deletes it."""


class Board:
    """Of all servers of a database."""

    def __init__(self, address: str) -> None:
        self._address = address

    def post(self, name: str, answers: Mapping[str, bytes]) -> None:
        """Write what a server says, by question, in place of what it said before. Raises StorageError."""
        with transaction(self._address) as connection:
            for question, content in answers.items():
                connection.execute(
                    "INSERT INTO more_board VALUES (%s, %s, now(), %s) "
                    "ON CONFLICT (name, question) DO UPDATE SET at = now(), content = excluded.content",
                    [name, question, content],
                )
            connection.execute("DELETE FROM more_board WHERE at < now() - make_interval(secs => %s)", [KEPT_SECONDS])

    def of_others(self, name: str, question: str) -> dict[str, bytes]:
        """What the others have said lately, by name. Raises StorageError."""
        with transaction(self._address) as connection:
            found = connection.execute(
                "SELECT name, content FROM more_board "
                "WHERE name <> %s AND question = %s AND at > now() - make_interval(secs => %s)",
                [name, question, FRESH_SECONDS],
            )
            return {other: bytes(content) for other, content in found.fetchall()}

    def leave(self, name: str) -> None:
        """Take away what a server has said. Raises StorageError."""
        with transaction(self._address) as connection:
            connection.execute("DELETE FROM more_board WHERE name = %s", [name])
