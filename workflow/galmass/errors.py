"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Input, configuration or file that cannot be used; the message names it and the remedy."""
