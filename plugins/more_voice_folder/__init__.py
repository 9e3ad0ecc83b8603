"""Voices in folders: those of the data directory, which can be changed, and those that came with the server."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import Context, Service, VoiceStore, hookimpl
from more_voice_folder.derived import DerivedFiles
from more_voice_folder.reading import ReadOnlyFolder
from more_voice_folder.store import FolderStore
from more_voice_folder.watcher import Watcher

STORE = "store"
SHIPPED = frozenset({"linden", "rowan"})
"""In a checkout, whose voices/ is also the data directory's, these lie beside a user's own."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    cache_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    """MB (10^6 bytes) kept of what was worked out from voices: 0.13 each for XTTS-v2. The longest unused goes first."""
    watch: bool = True
    """The system tells when a voice is changed by hand; otherwise every request looks at all voices."""


@hookimpl
def voice_stores(context: Context) -> Sequence[VoiceStore]:
    """`folder`, and `bundled` where that is another one."""
    store = _folder(context)
    bundled = context.bundled_dir / "voices"
    if bundled.resolve() == store.home.resolve():
        return (store,)
    return (store, ReadOnlyFolder("bundled", bundled, store.derived))


@hookimpl
def services(context: Context) -> Sequence[Service]:
    """Tells the store what is changed by hand."""
    if not context.settings.watch:
        return ()
    return (Watcher(_folder(context), context.server),)


def _folder(context: Context) -> FolderStore:
    """The one that the server asks, which the watcher has to reach."""
    if STORE not in context.shared:
        home, bundled = context.data_dir / "voices", context.bundled_dir / "voices"
        derived = DerivedFiles(context.data_dir / "cache" / "latents", context.settings.cache_mb * 1_000_000)
        fixed = SHIPPED if home.resolve() == bundled.resolve() else frozenset[str]()
        context.shared[STORE] = FolderStore("folder", home, derived, fixed)
    store: FolderStore = context.shared[STORE]
    return store
