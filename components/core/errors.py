"""Errors a user can act on. Their message is one line: what is wrong, where, what to do. Refused rows take a line each."""

from collections.abc import Sequence

TOLD = 20  # refused rows


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


def refused(errors: Sequence[InputError]) -> InputError:
    """One error for all rows that cannot be used: each with file, line and what to do, up to TOLD, then how many more."""
    if len(errors) == 1:
        return errors[0]
    more = [f"and {len(errors) - TOLD:,} more"] if len(errors) > TOLD else []
    return InputError("\n  ".join([f"{len(errors):,} rows cannot be used:", *map(str, errors[:TOLD]), *more]))
