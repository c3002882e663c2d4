"""Programs that a test needs and that may not be installed."""

import os
import shutil

import pytest


class SkipUnless:
    def __call__(self, program: str) -> str:
        # Debian's servers are in directories that only root has in its PATH.
        path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path
