"""The one error of a start: something that its operator can mend."""


class CannotStart(Exception):
    """Something about what is kept, where, or how the command was called; the text says what, and the way out."""
