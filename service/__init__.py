"""Jossiedb's API, its commands and what they share with the relay."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("jossiedb")
except PackageNotFoundError:  # a checkout that was not installed
    __version__ = "0+unknown"
