"""What an administrator decided about plugins while the server ran; it counts before file and environment."""

from pathlib import Path
from typing import Any

import msgspec

from more_server.errors import SettingsError
from more_server.files import LOCK_SECONDS, keep_file, locked


class Choice(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of one plugin."""

    enabled: bool | None = None
    """None: as the settings say."""
    settings: dict[str, Any] = {}
    """Those that were changed."""


class Choices:
    """Kept in one file, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "plugins.json"

    def read(self) -> dict[str, Choice]:
        """By the plugin's name. Raises SettingsError for a file that cannot be used."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, Choice])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise SettingsError(f"{self.path} cannot be used: {error}; mend it, or move it away") from error

    def write(self, name: str, choice: Choice) -> None:
        """Keep the choice for one plugin. Raises StorageError."""
        with locked(self.path, seconds=LOCK_SECONDS):
            choices = self.read() | {name: choice}
            # Secrets of plugins are in it.
            keep_file(self.path, msgspec.json.format(msgspec.json.encode(choices), indent=2), private=True)
