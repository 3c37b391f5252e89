"""The exceptions of the package, and helpers that read other exceptions."""

OUT_OF_MEMORY = "ran out of memory; use a smaller model or batch, or fewer jobs"


class StudyError(ValueError):
    """Say in one line why a study cannot run as requested, and what to do."""


class DataError(StudyError):
    """Say in one line why the data cannot be used, and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name if the message is empty.

    >>> first_line(KeyError())
    'KeyError'
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the CPU or a GPU ran out of memory.

    The check compares the class name of the exception, to avoid importing torch. On the CPU, torch
    raises an ordinary ``RuntimeError``.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(
        error
    )
