"""What schemathesis is told of this API beside its document."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def sent_as_it_is(_context: Any, value: Any) -> bytes:
    """tus's bytes."""
    return value if isinstance(value, bytes) else str(value).encode()
