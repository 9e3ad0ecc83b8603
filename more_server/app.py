"""create_app(settings): wiring only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException

from more_server.engine.engine import Engine
from more_server.errors import MoreError, SettingsError, allowed
from more_server.models import serving_model
from more_server.profiles import PROFILES
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.text import LANGUAGES, resolve_language
from more_server.voices import VoiceLibrary
from more_server.web import health, listings, metrics, speech
from more_server.web.errors import add_request_id, handle_bug, handle_http_error, handle_more_error

HANDLERS = (
    speech.speech,
    listings.list_models,
    listings.get_model,
    listings.list_voices,
    health.live,
    health.ready,
    metrics.metrics,
)
"""Every route."""


def create_speaker(settings: Settings) -> Speaker:
    """A speaker whose engine has not been started. Raises ModelError, ModelNotFound and SettingsError."""
    if settings.default_quality not in PROFILES:
        raise SettingsError(f"default_quality {settings.default_quality!r} is none of: {allowed(PROFILES)}")
    if resolve_language(settings.default_language) is None:
        raise SettingsError(f"default_language {settings.default_language!r} is none of: {allowed(LANGUAGES)}")
    engine = Engine(serving_model(settings), settings.engine)
    return Speaker(settings, engine, VoiceLibrary(settings.voice_dirs), PROFILES)


def create_app(settings: Settings, on_started: Callable[[BaseException | None], None] = lambda error: None) -> Litestar:
    """The HTTP application. It answers /health at once and speaks when the model is loaded.

    on_started is told None when the server is ready, or what kept it from that.
    """
    speaker = create_speaker(settings)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        speaker.engine.start()
        starting = asyncio.ensure_future(_tell(speaker, on_started))
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.to_thread(speaker.engine.stop)

    return Litestar(
        route_handlers=HANDLERS,
        dependencies={"speaker": Provide(lambda: speaker, sync_to_thread=False)},
        lifespan=[lifespan],
        exception_handlers={
            MoreError: handle_more_error,
            HTTPException: handle_http_error,
            Exception: handle_bug,
        },
        before_send=[add_request_id],
        cors_config=CORSConfig(
            allow_origins=list(settings.server.cors_origins),
            expose_headers=["x-request-id", "x-seed", "x-guards", "retry-after", "retry-after-ms"],
        ),
        request_max_body_size=settings.limits.body_bytes,
        openapi_config=None,
        logging_config=None,
    )


async def _tell(speaker: Speaker, on_started: Callable[[BaseException | None], None]) -> None:
    try:
        await speaker.start()
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - handed to whoever runs the server
        on_started(error)
    else:
        on_started(None)
