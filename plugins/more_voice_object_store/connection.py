"""From settings to a bucket that can be asked. Nothing is sent yet."""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import from_url

from more_server import errors
from more_voice_object_store.bucket import Bucket

if TYPE_CHECKING:
    from more_voice_object_store import Settings

URL = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(/[^?#@]*)?|file:///[^?#]*")
ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?")
SHAPES = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///path"
MOST_RETRIES = 2
RETRY_SHARE = 0.25
"""Of the time that a request may take: no other try begins later. Meant for connections that were closed while idle
and for storages that ask to slow down; what timed out is not tried again."""


def connected(settings: "Settings") -> Bucket:
    """The bucket, or the part of one, that the settings name. Raises BadInput naming the setting."""
    # The library panics, past every handler of errors, over an endpoint that is no URL and over control characters.
    _check(settings)
    scheme = settings.url.partition(":")[0]
    seconds = settings.timeout_seconds / 2
    try:
        if scheme == "file":
            folder = Path(unquote(urlsplit(settings.url).path))
            return Bucket(settings.name, from_url(settings.url, automatic_cleanup=True), seconds, folder)
        store = from_url(
            settings.url,
            config=_config(scheme, settings),
            client_options={
                "allow_http": settings.allow_http,
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=seconds),
            },
            retry_config={"max_retries": MOST_RETRIES, "retry_timeout": timedelta(seconds=seconds * RETRY_SHARE)},
        )
    except (BaseError, ValueError, OSError) as error:
        raise _refused("url", _why(error, settings)) from None
    return Bucket(settings.name, store, seconds)


def _check(settings: "Settings") -> None:
    if not settings.url:
        raise _refused("url", f"a store needs an address: {SHAPES}")
    if not URL.fullmatch(settings.url) or not settings.url.isprintable():
        raise _refused("url", f"it must be {SHAPES}; keys have settings of their own")
    if settings.endpoint and not (ENDPOINT.fullmatch(settings.endpoint) and _has_port(settings.endpoint)):
        raise _refused("endpoint", "it must be an address such as https://minio.example.org or http://10.0.0.7:9000")
    if settings.endpoint.startswith("http:") and not settings.allow_http:
        raise _refused("endpoint", "it is without TLS; say https, or set allow_http where the network can be trusted")
    for field in ("region", "access_key_id"):
        value = getattr(settings, field)
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise _refused(field, "it must be ASCII characters without spaces")


def _has_port(endpoint: str) -> bool:
    """Whether its port, if it has one, can be."""
    try:
        return urlsplit(endpoint).port != 0
    except ValueError:
        return False


def _config(scheme: str, settings: "Settings") -> Any:
    """The settings under the library's names; those left empty are left to it."""
    names = {
        "s3": ("endpoint", "region", "access_key_id", "secret_access_key"),
        "gs": ("base_url", "", "", "service_account_key"),
        "az": ("endpoint", "", "account_name", "account_key"),
    }[scheme]
    values = (settings.endpoint, settings.region, settings.access_key_id, settings.secret_access_key)
    return {name: value for name, value in zip(names, values, strict=True) if name and value}


def _refused(field: str, why: str) -> errors.BadInput:
    return errors.BadInput(f"plugin more_voice_object_store, settings.{field}: {why}", param=f"settings.{field}")


def _why(error: Exception, settings: "Settings") -> str:
    """What the library finds wrong, without its dump of everything it was given."""
    if "canonicalize" in str(error):
        return "there is no such folder; make it, or mount what should be there"
    words = re.split(r"[<\n]", str(error))[0]
    return words.replace(settings.secret_access_key, "…") if settings.secret_access_key else words
