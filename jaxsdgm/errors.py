"""The one exception that a user is meant to read."""


class UserError(ValueError):
    """Bad input: one line that names the file, the place and the remedy.

    `main` and `predict` print it without a traceback and exit with status 2.
    """
