"""`python -m relay`: one relay, with settings from the environment."""

import resource
import sys

import uvloop

from relay.main import relay
from service.platform.errors import StartupError
from service.platform.lifecycle import start

MAX_OPEN_FILES = 65_536


def main() -> int:
    _allow_many_connections()
    try:
        uvloop.run(relay(start()))
    except StartupError as error:
        print(f"jossiedb relay: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _allow_many_connections() -> None:
    """Raises the soft limit of open files. It is commonly 1,024, far below the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
