"""Voices in an object store, for several servers that share them: S3 and its kin, Google, Azure, or a mounted path."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server import Context, Service, VoiceStore, hookimpl
from more_voice_object_store.connection import connected
from more_voice_object_store.refresher import Refresher
from more_voice_object_store.store import ObjectVoiceStore

enabled_by_default = False
STORE = "store"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the plugin."""

    url: str = ""
    """`s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or `file:///path/of/a/folder`."""
    endpoint: str = ""
    """Address of the storage, such as `https://minio.example.org`; empty: the provider's own."""
    region: str = ""
    """S3's; empty: us-east-1, which most other storages take for theirs."""
    access_key_id: str = ""
    """S3's key, Azure's account; empty: what the machine or AWS_*, GOOGLE_*, AZURE_* variables give."""
    secret_access_key: Annotated[str, Meta(extra={"secret": True})] = ""
    """S3's secret, Azure's account key, Google's service account as JSON."""
    allow_http: bool = False
    """The endpoint may be without TLS: whoever is on the way reads the clips."""
    refresh_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Age at which the list of voices is asked for again: what another server changes is seen within it."""
    timeout_seconds: Annotated[float, Meta(ge=0.5, le=600)] = 8.0
    """Longest that anything asked of the storage takes, one request half of it; below the server's plugin_seconds."""
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}(?!\n)$")] = "objects"
    """Of the store, among all stores."""

    def __repr__(self) -> str:
        """Without the secret: a traceback with local variables would show it."""
        return f"Settings(url={self.url!r}, name={self.name!r}, …)"


@hookimpl
def voice_stores(context: Context) -> Sequence[VoiceStore]:
    """The one store. Raises BadInput naming the setting that does not fit; whether it answers is seen later."""
    return (_store(context),)


@hookimpl
def services(context: Context) -> Sequence[Service]:
    """Keeps the list of voices fresh while somebody asks for it."""
    seconds = context.settings.refresh_seconds
    return (Refresher(_store(context), seconds),) if seconds else ()


def _store(context: Context) -> ObjectVoiceStore:
    """The one that the server asks, which the refresher has to reach."""
    if STORE not in context.shared:
        settings = context.settings
        context.shared[STORE] = ObjectVoiceStore(settings.name, connected(settings), settings.refresh_seconds)
    store: ObjectVoiceStore = context.shared[STORE]
    return store
