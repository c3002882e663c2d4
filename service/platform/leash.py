"""`python leash.py PARENT_PID PROGRAM [ARGUMENT...]` becomes the program. The program ends when
that parent ends, even by kill -9. It does so on Linux only; elsewhere it just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # survives the exec below
    # The parent may have ended before the line above.
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
