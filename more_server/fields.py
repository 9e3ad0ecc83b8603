"""What Python and msgspec do not say of a field by themselves: the string under it, and where one does not fit."""

import ast
import inspect
import itertools
import re
import textwrap
from functools import cache

import msgspec

PLACE = re.compile(r" - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`$")
"""The end of msgspec's messages: of a value, or of the keys of the table at the path."""


def parted(message: str) -> tuple[str, str]:
    """What msgspec found wrong, and the path of the field below the whole; empty: the whole itself."""
    found = PLACE.search(message)
    if found is None:
        return message, ""
    what = message[: found.start()]
    return f"A name in it: {what[0].lower()}{what[1:]}" if found["key"] else what, found["path"]


@cache
def field_lines(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The string under each field, also of those that are inherited; none where the source cannot be had."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            found |= _own_lines(base)
    return found


def _own_lines(struct: type[msgspec.Struct]) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    except (OSError, TypeError, SyntaxError):  # made by defstruct, or installed without its source
        return {}
    assert isinstance(tree, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(str(line.value.value).split())
        for field, line in itertools.pairwise(tree.body)
        if isinstance(field, ast.AnnAssign) and isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    }
