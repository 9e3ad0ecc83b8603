"""What every answer tells a browser of itself, so that a page that somebody smuggles in is worth nothing."""

from litestar.types import Message, Scope

DOCUMENTS = (b"text/html", b"application/xhtml+xml", b"image/svg+xml", b"text/xml", b"application/xml")
"""What a browser shows as a page, which could run scripts."""
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),  # a recording is never taken for a page
    (b"referrer-policy", b"no-referrer"),  # addresses of jobs and voices stay here
)
POLICY = b"content-security-policy"
OF_DOCUMENTS = (
    b"default-src 'none'; img-src 'self' data:; media-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)
"""No script at all; reports of trainings carry their style and their recordings in themselves."""
# Not more for the others: `default-src` would keep browsers from playing a recording that is opened by itself.
OF_OTHERS = b"frame-ancestors 'none'"


async def add_security_headers(message: Message, _scope: Scope) -> None:
    """Hook before every response's start. What a handler has set itself stays, such as the policy of a page."""
    if message["type"] not in ("http.response.start", "websocket.http.response.start"):
        return
    sent = {name.lower(): value for name, value in message["headers"]}
    is_document = sent.get(b"content-type", b"").partition(b";")[0].strip().lower() in DOCUMENTS
    wanted = (*ALWAYS, (POLICY, OF_DOCUMENTS if is_document else OF_OTHERS))
    message["headers"] = [*message["headers"], *((name, value) for name, value in wanted if name not in sent)]
