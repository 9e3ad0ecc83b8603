"""What an administrator decided about plugins while the server ran; it counts before file and environment."""

from typing import Any

import msgspec

from more_server.errors import Conflict, SettingsError
from more_server.files import set_aside_damaged
from more_server.settings import Settings
from more_server.shared.kept import KeptFile

FILE = "admin/plugins.json"


class Choice(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of one plugin."""

    enabled: bool | None = None
    """None: as the settings say."""
    settings: dict[str, Any] = {}
    """Those that were changed."""


def set_damaged_choices_aside(settings: Settings) -> None:
    """At the start of a server, which goes on as the settings say. Raises StorageError."""
    set_aside_damaged(settings.data_dir / FILE, _decoded)


class Choices:
    """Kept in one file, replaced whole."""

    def __init__(self, settings: Settings) -> None:
        self._file = KeptFile(settings, FILE)
        self.path = self._file.path

    def read(self) -> dict[str, Choice]:
        """By the plugin's name. Raises SettingsError for a file that cannot be used."""
        try:
            return _decoded(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
            raise SettingsError(f"{self.path} cannot be used: {error}; mend it, or move it away") from error

    def write(self, name: str, choice: Choice, before: Choice) -> None:
        """Keep the choice for one plugin, which was worked out from the one before.

        Raises Conflict where another server has changed it meanwhile, StorageError.
        """
        with self._file.changing() as keep:
            choices = self.read()
            if choices.get(name, Choice()) != before:
                raise Conflict(f"another server has just changed the plugin {name}; look at it, and try again")
            keep(msgspec.json.format(msgspec.json.encode(choices | {name: choice}), indent=2))


def _decoded(content: bytes) -> dict[str, Choice]:
    return msgspec.json.decode(content, type=dict[str, Choice])
