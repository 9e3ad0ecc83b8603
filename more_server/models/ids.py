"""What a model's id may look like."""

import re

from more_server.errors import ModelError

RESERVED = ("auto", "serving", "manifest.toml")
"""Names that the settings and the models folder give another meaning."""


def check_id(model: str) -> str:
    """The id itself. Raises ModelError where it could not be a folder of its own."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", model) or model in RESERVED:
        raise ModelError(
            f"{model!r} cannot be a model's name: letters, digits, dots, dashes and underscores, a letter or digit "
            f"first, at most 64, and none of {', '.join(RESERVED)}"
        )
    return model
