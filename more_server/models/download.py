"""One file over HTTP: resumed where it broke off, checked before it gets its name."""

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from more_server.errors import ModelError
from more_server.xtts.layout import Progress

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
"""Failures in a row, none of which brought a single byte."""
LONGEST_PAUSE = 30.0

VerifiedBy = Literal["manifest", "server", "nothing"]


class Fetched(msgspec.Struct, frozen=True):
    """A file that is here, whole."""

    size: int
    sha256: str
    """As it was found on disk."""
    verified_by: VerifiedBy
    """Whose hash it equals; `nothing`: no one named one, it is taken as it came."""


class Offer(msgspec.Struct, frozen=True):
    """What the server said of a file when its download began; kept beside the part."""

    validator: str = ""
    """Strong ETag: the same bytes."""
    sha256: str = ""
    """Hugging Face names the hash of large files in X-Linked-ETag."""


class _Again(Exception):
    """The attempt ended early; another may go on from there."""


class Download:
    """One file on its way to `path`; the part lies beside it as `<name>.part`."""

    def __init__(
        self,
        client: "httpx.Client",
        address: str,
        path: Path,
        *,
        size: int = 0,
        sha256: str = "",
        on_progress: Progress | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._address, self._path = client, address, path
        self._size, self._sha256 = size, sha256
        self._report = on_progress or (lambda _what, _done, _total: None)
        self._pause = pause
        self._part = path.with_name(path.name + ".part")
        self._note = path.with_name(path.name + ".offer.json")
        self._joined = False
        """Whether bytes of two answers were put together: a wrong hash may then be the joint's fault."""

    def fetch(self) -> Fetched:
        """Bring the file here, or go on where an earlier run ended.

        Raises ModelError: the server refuses or cannot be reached, another size or hash than named,
        a full disk. What came so far stays for the next run, unless its hash is wrong.
        """
        try:
            if self._path.is_file():
                self._path.replace(self._part)
            self._joined = self._part.is_file()
            self._complete()
            found = self._hash()
            if self._joined and not self._is_right(found):
                self._forget()
                self._complete()
                found = self._hash()
            if not self._is_right(found):
                self._forget()
                raise ModelError(
                    f"{self._address} has sha256 {found}, {self._sha256 or self._offer().sha256} was expected; "
                    "it was changed or damaged on the way, and is not used"
                )
            offer = self._offer()
            self._part.replace(self._path)
        except OSError as error:
            raise ModelError(f"{self._path} cannot be written: {error}") from error
        checked: VerifiedBy = "manifest" if self._sha256 else "server" if offer.sha256 else "nothing"
        return Fetched(self._path.stat().st_size, found, checked)

    def tidy(self) -> None:
        """Remove what lies beside a file that is here, whole; the next fetch begins anew."""
        self._note.unlink(missing_ok=True)

    def _complete(self) -> None:
        import httpx

        failures = 0
        while True:
            before = self._here()
            try:
                self._attempt()
            except (httpx.TransportError, _Again) as error:
                failures = 1 if self._here() > before else failures + 1
                if failures >= ATTEMPTS:
                    raise ModelError(
                        f"{self._address} cannot be fetched: {error or type(error).__name__}; "
                        "run the same command again to go on from here"
                    ) from error
                self._pause(min(2.0 ** (failures - 1), LONGEST_PAUSE))
            except httpx.HTTPError as error:
                raise ModelError(f"{self._address} cannot be fetched: {error}") from error
            else:
                return

    def _attempt(self) -> None:
        """One request. Returns when the part is whole; raises _Again or a transport error when it is not."""
        here, offer = self._here(), self._offer()
        if self._size and here == self._size:
            return
        headers = {"accept-encoding": "identity"}
        # Without a validator or a known hash nothing would tell old bytes from new ones.
        if here and (offer.validator or self._sha256):
            headers["range"] = f"bytes={here}-"
            if offer.validator:
                headers["if-range"] = offer.validator
        with self._client.stream("GET", self._address, headers=headers, follow_redirects=True) as response:
            self._check_status(response, here)
            goes_on = response.status_code == 206
            total = self._total(response, here if goes_on else 0)
            if not goes_on:
                self._note.write_bytes(msgspec.json.encode(_read_offer(response)))
            self._joined = self._joined or goes_on
            self._receive(response, here if goes_on else 0, total)

    def _check_status(self, response: "httpx.Response", here: int) -> None:
        status = response.status_code
        if self._address.startswith("https:") and any(r.url.scheme != "https" for r in (*response.history, response)):
            raise ModelError(f"{self._address} leads to an address without encryption; it is not followed")
        if status == 206:
            begins = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
            if begins is None or int(begins[1]) != here:
                self._forget()
                raise _Again("the server sent another part than asked for")
        elif status == 416:
            self._forget()
            raise _Again("the server has no such part")
        elif status == 429 or status >= 500:
            raise _Again(f"the server answers {status} {response.reason_phrase}")
        elif status != 200:
            raise ModelError(f"{self._address} cannot be fetched: the server answers {status} {response.reason_phrase}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ModelError(f"{self._address} is sent compressed, which was not asked for")

    def _total(self, response: "httpx.Response", offset: int) -> int:
        """Bytes of the whole file, 0 where no one says. Raises ModelError where manifest and server disagree."""
        length = response.headers.get("content-length", "")
        total = offset + int(length) if length.isdigit() else 0
        if self._size and total and total != self._size:
            raise ModelError(f"{self._address} has {total} bytes, {self._size} were expected; it is not the same file")
        return total or self._size

    def _receive(self, response: "httpx.Response", offset: int, total: int) -> None:
        done = offset
        with self._part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            for chunk in response.iter_raw():
                done += len(chunk)
                if total and done > total:
                    raise ModelError(f"{self._address} sends more than the {total} bytes that were expected")
                file.write(chunk)
                self._report(self._path.name, done, total)
        if total and done < total:
            raise _Again(f"the connection ended after {done} of {total} bytes")

    def _hash(self) -> str:
        self._report(f"checking {self._path.name}", 0, self._here())
        with self._part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        self._report(f"checking {self._path.name}", self._here(), self._here())
        return found

    def _is_right(self, found: str) -> bool:
        return found == (self._sha256 or self._offer().sha256 or found)

    def _here(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _offer(self) -> Offer:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Offer)
        except (OSError, msgspec.DecodeError):
            return Offer()

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _read_offer(response: "httpx.Response") -> Offer:
    # The hash comes with the answer of the address itself, the bytes from wherever it redirects to.
    first = response.history[0] if response.history else response
    linked = first.headers.get("x-linked-etag", "").removeprefix("W/").strip('"').lower()
    etag = response.headers.get("etag", "")
    return Offer(
        validator="" if etag.startswith("W/") else etag,
        sha256=linked if re.fullmatch("[0-9a-f]{64}", linked) else "",
    )
