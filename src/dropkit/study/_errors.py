"""The one exception that a study raises for what its user can put right."""


class StudyError(ValueError):
    """A study that cannot run as asked; the message is one line and says what to do."""
