"""The one exception that a study raises for what its user can put right, and its one line."""


class StudyError(ValueError):
    """A study that cannot run as asked; the message is one line and says what to do."""


def first_line(error: BaseException) -> str:
    """What an error says first, since others' go on for many lines; its type if it says nothing.

    >>> first_line(KeyError())
    'KeyError'
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
