"""Lines on disk that survive a killed writer: each is whole or as if never written."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from more_server.files import write_file

Row = TypeVar("Row", bound=msgspec.Struct)


class Journal(Generic[Row]):
    """Rows of one type by their keys, appended one by one."""

    def __init__(self, path: Path, kind: type[Row], key: str = "key") -> None:
        """Rows of another type or version are taken for none, and so is the half of a line. Raises OSError."""
        self._path = path
        self._key = key
        self.rows: dict[str, Row] = {}
        content = path.read_bytes() if path.exists() else b""
        for line in content.splitlines():
            try:
                self._keep(msgspec.json.decode(line, type=kind))
            except ValueError:
                continue
        self._file = path.open("ab", buffering=0)
        if content and not content.endswith(b"\n"):
            self._append(b"\n")

    def add(self, row: Row) -> None:
        """A row more, for good as far as a killed process goes. Raises OSError where the disk is full."""
        self._append(msgspec.json.encode(row) + b"\n")
        self._keep(row)

    def shrink(self, keys: Iterable[str]) -> None:
        """Keep the rows of these keys alone."""
        kept = {key: self.rows[key] for key in keys if key in self.rows}
        if kept.keys() == self.rows.keys():
            return
        self._file.close()
        write_file(self._path, lines(kept.values()))
        self.rows = kept
        self._file = self._path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _append(self, line: bytes) -> None:
        while line:
            line = line[self._file.write(line) :]  # a part, where the disk is nearly full

    def _keep(self, row: Row) -> None:
        self.rows[getattr(row, self._key)] = row


def lines(rows: Iterable[msgspec.Struct]) -> bytes:
    """JSON lines of the rows."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
