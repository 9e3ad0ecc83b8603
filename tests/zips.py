"""Zip archives that no archiver makes."""

import struct


def endless(count: int, *, comment: bytes = b"", long: bool = False) -> bytes:
    """A list of so many empty files and nothing else, and a last record that says it is of none.

    long: with the records that archives of more than 65,535 files have.
    """
    entry = b"PK\x01\x02" + struct.pack("<HH4HIII5HII", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size, more = len(entry) * count, b""
    if long:
        more = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 0, 0, size, 0)
        more += b"PK\x06\x07" + struct.pack("<IQI", 0, size, 1)
    told = 0xFFFFFFFF if long else size
    return entry * count + more + b"PK\x05\x06" + struct.pack("<4HIIH", 0, 0, 0, 0, told, 0, len(comment)) + comment
