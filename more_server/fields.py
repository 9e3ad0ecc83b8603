"""What the strings under the fields of a struct say, which Python itself forgets."""

import ast
import inspect
import itertools
import textwrap
from functools import cache

import msgspec


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
