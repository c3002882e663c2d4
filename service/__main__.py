"""`python -m service` does the same as the command `jossiedb`."""

from service.cli import main

if __name__ == "__main__":
    main()
