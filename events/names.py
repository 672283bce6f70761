"""What people may call things. Must never change a name: it is accepted as it stands or refused."""

import unicodedata
from typing import Final

from events.refusals import Refusal, invalid

LONGEST_NAME: Final = 100
LONGEST_REASON: Final = 500
FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
DIRECTION_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""Characters that reorder the text around them, so a name could pass for another in an audit."""
ZERO_WIDTH: Final = frozenset("\u00ad\u180e\u200b\u200c\u200d\u2060\ufeff")
"""Characters that join or part others and show nothing alone."""


def name_problems(field: str, name: str) -> tuple[Refusal, ...]:
    """List what is wrong with a name: 1 to 100 characters that show something, no control characters."""
    if all(c.isspace() or c in ZERO_WIDTH for c in name):
        return (invalid(field, "is empty: give 1 to 100 characters, not only spaces"),)
    return text_problems(field, name, LONGEST_NAME)


def text_problems(field: str, text: str, longest: int) -> tuple[Refusal, ...]:
    """List what is wrong with a free text of at most `longest` characters."""
    if len(text) > longest:
        return (invalid(field, f"has {len(text)} characters: at most {longest} are allowed"),)
    if text.isascii() and text.isprintable():
        return ()
    if any(c in DIRECTION_CONTROLS or unicodedata.category(c) in FORBIDDEN_CATEGORIES for c in text):
        return (invalid(field, "holds a control character: use printable characters only"),)
    return ()
