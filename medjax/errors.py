"""The one exception meant for the person at the keyboard."""


class UserError(ValueError):
    """Something the user can put right.

    The message is one line: what is wrong, and what to do about it. Launchers print it and exit with status 2; every
    other exception is a fault in medjax and keeps its traceback.
    """

    def __str__(self) -> str:
        # Also where it quotes the name of a file, which may hold anything.
        return " ".join(super().__str__().split())
