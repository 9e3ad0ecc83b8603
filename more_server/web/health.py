"""Health: alive, ready, and the plain OK that some clients look for."""

from litestar import MediaType, Response, get
from litestar.di import NamedDependency

from more_server.engine.engine import LOADING_RETRY_SECONDS
from more_server.speak import Speaker
from more_server.web import wire

PUBLIC = {"scope": "public"}


@get(["/health", "/health/live"], opt=PUBLIC, media_type=MediaType.TEXT, sync_to_thread=False)
def live() -> str:
    """`OK` as soon as the process answers; wyoming_openai takes this very body for a server with voice lists."""
    return "OK"


@get("/health/ready", opt=PUBLIC, sync_to_thread=False)
def ready(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """200 when requests can be spoken, else 503 with the reason."""
    state = speaker.engine.state()
    answers = speaker.ready and state.loaded
    reason = "" if answers else state.failure or "the model is loading"
    return Response(
        wire.encode(wire.Readiness(answers, state.model, reason)),
        status_code=200 if answers else 503,
        headers={} if answers else {"retry-after": str(round(LOADING_RETRY_SECONDS))},
        media_type="application/json",
    )
