"""What a process of the server says of itself, for whoever tells of all of them."""

from more_server.siblings import Question
from more_server.speak import Speaker
from more_server.web import wire
from more_server.web.health import own_health
from more_server.web.metrics import own_metrics


async def own(speaker: Speaker, question: Question) -> bytes:
    """Its answer."""
    match question:
        case "metrics":
            return await own_metrics(speaker)
        case "health":
            return wire.encode(await own_health(speaker))
