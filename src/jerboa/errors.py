"""The one exception that a user's input may raise, and how it reads."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class JerboaError(Exception):
    """Something the user can mend.

    Args:
        what: one clause that says what is wrong.
        where: file, line, key or layer it was found at.
        allowed: what would be accepted there.
        hint: what to do next.

    The command line prints the sentence and exits with 2, never with a traceback.
    """

    def __init__(self, what: str, *, where: object = None, allowed: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.allowed = allowed
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.hint:
            text += f"; {self.hint}"
        return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause such as ``did you mean 'epochs'?``, or the list of what is known."""
    choices = sorted(known)
    close = get_close_matches(word, choices, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(choices)}"


def missing_extra(package: str, extra: str, purpose: str) -> JerboaError:
    """The error for an optional part that is not installed."""
    return JerboaError(
        f"{package} is not installed, and {purpose} needs it",
        hint=f"install it with: pip install 'jerboa[{extra}]'",
    )
