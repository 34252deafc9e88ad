"""The diagnosis of a saved learner: what its rates have become, and what is odd about it."""

from .files import read

__all__ = ["read"]
