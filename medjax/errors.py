"""The one exception meant for the user, and text for messages."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake that the user can correct.

    The message is one line: what is wrong, and what to do about it. Launchers print it and exit with status 2. Every
    other exception is a fault in medjax and keeps its traceback.
    """

    def __str__(self) -> str:
        # A message may quote the name of a file, and a name may contain line breaks.
        return " ".join(super().__str__().split())


def reason_of(error: object) -> str:
    """The text of an exception on one line; the name of its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def first_few(words: Sequence[object], most: int = 5) -> str:
    """The first words of a list, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(map(str, words[:most])) + more
