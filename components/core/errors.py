"""Errors a user can act on. Their message is one line: what is wrong, where, what to do."""


class PadaError(Exception):
    """Base. A program that meets one prints only its message and exits with 1; anything else is a bug with a traceback."""


class InputError(PadaError):
    """A setting, a row or a file is not what it must be."""


class PassingError(InputError):
    """A store or the hub does not answer now; the same request may do well in a moment."""


class ModelError(PadaError):
    """A model is missing, broken or too large."""


class EndpointError(PadaError):
    """An LLM endpoint refuses, is not there, or gave up."""
