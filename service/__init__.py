"""The service: the REST API and the commands, with the code that the relay shares."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("jossiedb")
except PackageNotFoundError:  # this is a checkout that was not installed
    __version__ = "0+unknown"
