"""Keys: made once, kept hashed, and counted at once when another process makes or removes one."""

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from more_server.errors import BadInput, KeyNotFound, KeysUnreadable, SettingsError, StorageError, allowed, shown
from more_server.following import stamp
from more_server.settings import Settings
from more_server.shared.kept import Keep, KeptFile

Scope = Literal["speech", "voices", "admin"]
SCOPES: tuple[Scope, ...] = ("speech", "voices", "admin")
"""What a key may do: speak, add and remove voices, and everything: `admin` includes the other two."""

SECRET = re.compile(r"more_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
NO_DIGEST = "0" * 64
"""What the secrets of unknown keys are compared with; nothing hashes to it."""

NAME_CHARACTERS = 64
FLUSH_SECONDS = 60.0

Rate = Annotated[int, Meta(ge=1, le=100_000)]
Concurrency = Annotated[int, Meta(ge=1, le=10_000)]


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key as it is kept: everything but the secret."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
    """Eight hexadecimal digits, which the secret holds too; no secret itself."""
    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]
    """What its owner calls it."""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    """What it may do."""
    # A fast hash is right here: slow ones protect what people choose. 256 random bits cannot be guessed at any speed,
    # and this runs on every request.
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """Of the whole secret, in hexadecimal."""
    created: int
    """Unix seconds."""
    rate_per_minute: Rate | None = None
    """Requests in any 60 seconds; None: no limit."""
    concurrency: Concurrency | None = None
    """Requests answered at the same time, streams to their end; None: no limit."""

    def allows(self, scope: str) -> bool:
        """Whether the key may do this."""
        return scope in self.scopes or "admin" in self.scopes

    def shown(self) -> dict[str, Any]:
        """Everything of it that anybody may see."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if name != "sha256"}


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`keys.json`. What it does not say exactly so is damage: a key's limits must not get lost by a misspelling."""

    keys: tuple[Key, ...]
    version: Literal[1] = 1


@dataclass(frozen=True)
class _Read:
    """The file as it was read last."""

    signature: tuple[int, int, int] | None
    """Its modification time in nanoseconds, its bytes and its inode; None: there has been none."""
    keys: Mapping[str, Key]
    problem: str = ""


def new_key(
    name: str, scopes: Iterable[str], rate_per_minute: int | None = None, concurrency: int | None = None
) -> tuple[Key, str]:
    """A key that no ring holds yet, and its secret, which is nowhere else. Raises BadInput naming the field."""
    wanted = set(scopes)
    if unknown := sorted(wanted - set(SCOPES)):
        raise BadInput(f"there is no scope {shown(unknown[0])}; there are: {allowed(SCOPES)}", param="scopes")
    if not wanted:
        raise BadInput(f"a key needs a scope; there are: {allowed(SCOPES)}", param="scopes")
    key_id = secrets.token_hex(4)
    secret = f"more_{key_id}_{secrets.token_urlsafe(32)}"
    values = {
        "id": key_id,
        "name": _checked_name(name),
        "scopes": [scope for scope in SCOPES if scope in wanted],
        "sha256": _digest(secret),
        "created": int(time.time()),
        "rate_per_minute": rate_per_minute,
        "concurrency": concurrency,
    }
    try:
        return msgspec.convert(values, Key), secret
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        raise BadInput(f"{field}: {what[0].lower()}{what[1:]}", param=field) from error


def _checked_name(name: str) -> str:
    # Neither control characters, which reach terminals, nor marks of direction, which make one name look like another.
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= NAME_CHARACTERS:
        raise BadInput(
            f"a key's name is 1 to {NAME_CHARACTERS} visible characters, without spaces around it; "
            f"{shown(name)} is not",
            param="name",
        )
    return name


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or name; a name that cannot be resolved counts as reachable."""
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return all(map(_is_loopback_address, found))


def _is_loopback_address(text: str) -> bool:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class KeyRing:
    """The keys of a server, in `keys.json` beside what else was decided while it ran.

    A file that cannot be read never means that there are no keys: everything raises KeysUnreadable then, the
    constructor first.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = KeptFile(settings, "admin/keys.json")
        self._used_file = KeptFile(settings, "admin/keys-used.json")
        self._path, self._used_path = self._file.path, self._used_file.path
        self._read = _Read(None, {})
        self._used: dict[str, int] = {}
        self._flushed: dict[str, int] = {}
        self._next_flush = 0.0
        self._current()

    @cached_property
    def may_be_open(self) -> bool:
        """Whether the server may answer without any key: only this machine reaches it, or its owner allows it."""
        return self._settings.server.allow_open or is_loopback(self._settings.server.host)

    def any(self) -> bool:
        """Whether there is a key. Without one nobody needs one."""
        return bool(self._current())

    def all(self) -> list[Key]:
        """All keys, the oldest first."""
        return sorted(self._current().values(), key=lambda key: key.created)

    def find(self, key_id: str) -> Key:
        """The key with an id. Raises KeyNotFound."""
        key = self._current().get(key_id)
        if key is None:
            raise _unknown(key_id)
        return key

    def authenticate(self, secret: str) -> Key | None:
        """The key with this secret, which is noted as used; None where there is none."""
        keys = self._current()
        written = SECRET.fullmatch(secret)
        key = keys.get(written[1]) if written else None
        # An unknown id takes the same steps, so that the time tells nothing about which ids there are.
        right = hmac.compare_digest(_digest(secret), NO_DIGEST if key is None else key.sha256)
        if key is None or not right:
            return None
        self._used[key.id] = int(time.time())
        return key

    def add(self, key: Key) -> None:
        """Keep a key of `new_key`. Raises BadInput where nobody could administer the server then; StorageError."""
        with self._file.changing() as keep:
            keys = self._fresh()
            if not any("admin" in other.scopes for other in (*keys.values(), key)):
                raise BadInput(
                    "the first key must have the scope admin: with a key in place, only keys count, and nobody could "
                    "make another one",
                    param="scopes",
                )
            if key.id in keys:
                raise StorageError("another key has this id by chance; try again")
            self._write(keep, [*keys.values(), key])

    def revoke(self, key_id: str) -> Key:
        """Remove a key, for every request that comes from now on.

        Raises KeyNotFound; BadInput where nobody could administer the server then, or everybody; StorageError.
        """
        with self._file.changing() as keep:
            keys = self._fresh()
            key = keys.pop(key_id, None)
            if key is None:
                raise _unknown(key_id)
            if keys and not any("admin" in other.scopes for other in keys.values()):
                raise BadInput(
                    f"{key.name} is the last key with the scope admin; make another one first, or remove the others "
                    "before it",
                    param="id",
                )
            if not keys and not self.may_be_open:
                raise BadInput(
                    f"{key.name} is the last key, and other machines reach this server at "
                    f"{self._settings.server.host}; without a key it would be open to them. If that is what you want, "
                    "set server.allow_open first",
                    param="id",
                )
            self._write(keep, keys.values())
        return key

    def last_used(self) -> dict[str, int]:
        """Unix seconds of each key's last use by id; other processes' as of their last flush."""
        return _latest(self._stored_uses(), dict(self._used))

    def flush_due(self) -> bool:
        """True once a minute at most, and then `flush` should be called."""
        if time.monotonic() < self._next_flush:
            return False
        self._next_flush = time.monotonic() + FLUSH_SECONDS
        return True

    def flush(self) -> None:
        """Write when keys were used last. Raises StorageError and KeysUnreadable."""
        used = dict(self._used)
        if used == self._flushed:
            return
        # A file of its own: the command line never waits for the server, nor the server for it.
        with self._used_file.changing() as keep:
            keys = self._current()
            latest = _latest(self._stored_uses(), used)
            keep(msgspec.json.encode({key: latest[key] for key in latest if key in keys}))
        self._flushed = used

    def _current(self) -> Mapping[str, Key]:
        """The keys as they are now, for the price of one stat."""
        try:
            if stamp(self._path.stat()) != self._read.signature:
                self._read = self._load()
        except FileNotFoundError:
            return self._without_file()
        except OSError as error:
            raise self._unreadable(error) from error
        return self._checked()

    def _fresh(self) -> dict[str, Key]:
        """The keys as they are now, whatever the stat says; only the holder of the lock may build on them."""
        try:
            self._read = self._load()
        except FileNotFoundError:
            return dict(self._without_file())
        except OSError as error:
            raise self._unreadable(error) from error
        return dict(self._checked())

    def _without_file(self) -> Mapping[str, Key]:
        # The last key's removal leaves a file that says so. One that is gone was lost, with its volume perhaps.
        if self._read.signature is not None:
            raise KeysUnreadable(f"{self._path} was there and is gone; put it back, or start the server anew")
        return {}

    def _unreadable(self, error: OSError) -> KeysUnreadable:
        return KeysUnreadable(
            f"{self._path} cannot be read: {error.strerror or error}; it must belong to the user that serves"
        )

    def _checked(self) -> Mapping[str, Key]:
        if self._read.problem:
            raise KeysUnreadable(self._read.problem)
        return self._read.keys

    def _load(self) -> _Read:
        with self._path.open("rb") as file:
            signature = stamp(os.fstat(file.fileno()))
            content = file.read()
        try:
            keys = msgspec.json.decode(content, type=KeyFile).keys
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _Read(signature, {}, self._damaged(str(error)))
        by_id = {key.id: key for key in keys}
        if len(by_id) != len(keys):
            return _Read(signature, {}, self._damaged("two keys have one id"))
        return _Read(signature, by_id)

    def _damaged(self, how: str) -> str:
        return f"{self._path} is damaged: {how}; mend it, or move it away, start the server anew and make new keys"

    def _write(self, keep: Keep, keys: Iterable[Key]) -> None:
        content = msgspec.json.encode(KeyFile(tuple(keys)))
        keep(msgspec.json.format(content, indent=2) + b"\n")
        self._current()  # from now on the file is known, and its loss noticed

    def _stored_uses(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._used_path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}  # nobody is let in or kept out by it, and the next flush writes it anew
        except OSError as error:
            raise StorageError(f"{self._used_path} cannot be read: {error.strerror or error}") from error


def check_reach(settings: Settings) -> None:
    """Refuse to let other machines in while there is no key. Raises SettingsError and KeysUnreadable."""
    keys = KeyRing(settings)
    if keys.any() or keys.may_be_open:
        return
    raise SettingsError(
        f"other machines reach {settings.server.host}, and there is no key: all of them could speak, clone voices and "
        "administer the server. Make a key with `more-server keys add NAME --scope admin`, bind 127.0.0.1 (--host), or "
        "allow it with the setting server.allow_open (MORE_SERVER__ALLOW_OPEN=true)"
    )


def _unknown(key_id: str) -> KeyNotFound:
    return KeyNotFound(f"there is no key {shown(key_id)}; `more-server keys list` shows them", param="id")


def _latest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in (*one, *other)}
