"""The package's exceptions, and what is read from those of others."""

OUT_OF_MEMORY = "ran out of memory; use a smaller model or batch, or fewer --jobs"


class StudyError(ValueError):
    """A study that cannot run as asked; the message is one line and says what to do."""


class DataError(StudyError):
    """Data that cannot be used as they are; the message is one line and says what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name if the message is empty.

    >>> first_line(KeyError())
    'KeyError'
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the CPU or on a GPU.

    Torch's class is told by its name, so that torch need not be imported to ask; its allocator on
    the CPU raises a plain ``RuntimeError``.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(
        error
    )
