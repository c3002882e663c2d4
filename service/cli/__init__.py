"""The command `jossiedb`, with its work on a database and its questions to a running system."""

from service.cli.commands import main

__all__ = ["main"]
