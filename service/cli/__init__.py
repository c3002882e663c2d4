"""The command `jossiedb`, and what its commands do to a database or ask of a running system."""

from service.cli.commands import main

__all__ = ["main"]
