"""Profiles of plugins, and those that an administrator makes of them while the server runs."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from more_server.errors import BadInput, Conflict, SettingsError, allowed, shown
from more_server.files import set_aside_damaged
from more_server.registry import Snapshot
from more_server.settings import Settings
from more_server.shared.kept import KeptFile
from more_server.speech import Profile

QUALITY_OF_MODEL: tuple[tuple[str, str], ...] = (("tts-1", "fast"), ("tts-1-hd", "high_quality"))
"""OpenAI's model names that stand for a quality."""

OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""OpenAI's model names, all of them spoken by the model that serves."""

FILE = "admin/profiles.json"


class Made(msgspec.Struct, forbid_unknown_fields=True):
    """A profile made by an administrator, as it is kept: a later change of its base reaches it."""

    base: str
    changes: dict[str, Any]
    """Fields that differ from the base."""


def set_damaged_profiles_aside(settings: Settings) -> None:
    """At the start of a server, which goes on with the profiles of plugins. Raises StorageError."""
    set_aside_damaged(settings.data_dir / FILE, _decoded)


class ProfileBook:
    """Looks profiles up, and keeps those that were made while the server ran."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where `profiles.json` cannot be used."""
        self._file = KeptFile(settings, FILE)
        self.path = self._file.path
        self.made = self._read()

    def take_up(self, check: Callable[[], None]) -> bool:
        """Follow what another server has written; whether that was anything new.

        check: raises for profiles that the server cannot do with. Raises what it does, and SettingsError where the
        file cannot be used; then all is as it was.
        """
        before, self.made = self.made, self._read()
        try:
            check()
        except BaseException:
            self.made = before
            raise
        return self.made != before

    def names(self, snapshot: Snapshot) -> list[str]:
        """Of all profiles, those made last."""
        return [*snapshot.profiles, *(name for name in self.made if name not in snapshot.profiles)]

    def find(self, name: str, snapshot: Snapshot) -> Profile:
        """The profile of this name. Raises BadInput listing what exists, or where its base is gone."""
        if profile := snapshot.profiles.get(name):
            return profile
        made = self.made.get(name)
        if made is None:
            raise BadInput(
                f"there is no quality {shown(name)}; there are: {allowed(self.names(snapshot))}", param="quality"
            )
        if made.base not in self.names(snapshot):
            raise BadInput(f"the quality {name} is made of {made.base}, which is gone with its plugin", param="quality")
        return self.find(made.base, snapshot).derived(name, made.changes)

    def create(self, name: str, base: str, changes: Mapping[str, Any], snapshot: Snapshot) -> Profile:
        """Keep a new profile. Raises BadInput naming the field; StorageError."""
        if name in self.names(snapshot):
            raise BadInput(f"there is a profile {shown(name)} already; change it with PATCH", param="name")
        return self._keep(name, Made(base, dict(changes)), snapshot)

    def change(self, name: str, changes: Mapping[str, Any], snapshot: Snapshot) -> Profile:
        """Change some fields of a made profile; null is as the base has it. Raises as `create`, and for others'."""
        made = self._own(name, snapshot)
        kept = made.changes | dict(changes)
        return self._keep(
            name, Made(made.base, {field: value for field, value in kept.items() if value is not None}), snapshot
        )

    def delete(self, name: str, snapshot: Snapshot) -> None:
        """Forget a made profile. Raises BadInput while another one is made of it."""
        self._own(name, snapshot)
        self._write(name, None)

    def _own(self, name: str, snapshot: Snapshot) -> Made:
        if name in self.made:
            return self.made[name]
        if name in snapshot.profiles:
            raise BadInput(
                f"the profile {name} comes from a plugin; make one of your own with it as `base`", param="name"
            )
        raise BadInput(f"there is no profile {shown(name)}; yours are: {allowed(self.made)}", param="name")

    def _keep(self, name: str, made: Made, snapshot: Snapshot) -> Profile:
        if made.base not in self.names(snapshot):
            raise BadInput(
                f"base: there is no profile {shown(made.base)}; there are: {allowed(self.names(snapshot))}",
                param="base",
            )
        profile = snapshot.check(self.find(made.base, snapshot).derived(name, made.changes))
        self._write(name, made)
        return profile

    def _read(self) -> dict[str, Made]:
        try:
            return _decoded(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
            raise SettingsError(f"{self.path} cannot be used: {error}; mend it, or move it away") from error

    def _write(self, name: str, made: Made | None) -> None:
        with self._file.changing() as keep:
            known = self._read()
            # What this is worked out from another server may have changed meanwhile.
            for one in (name, made.base) if made else (name,):
                if known.get(one) != self.made.get(one):
                    raise Conflict(f"another server has just changed the profile {one}; look at it, and try again")
            changed = {other: one for other, one in known.items() if other != name} | ({name: made} if made else {})
            if users := [other for other, one in changed.items() if made is None and one.base == name]:
                raise BadInput(f"{name} is the base of {allowed(users)}; delete those first", param="name")
            keep(msgspec.json.format(msgspec.json.encode(changed), indent=2))
        self.made = changed


def _decoded(content: bytes) -> dict[str, Made]:
    return msgspec.json.decode(content, type=dict[str, Made])
