"""`python -m relay`: one relay, with settings from the environment."""

import sys

import uvloop

from relay.main import relay
from service.platform.errors import StartupError
from service.platform.lifecycle import start


def main() -> int:
    try:
        uvloop.run(relay(start()))
    except StartupError as error:
        print(f"jossiedb relay: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
