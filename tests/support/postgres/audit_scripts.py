"""Runs the psql scripts of sql/audit, as a user does."""

import asyncio

from tests.support.paths import ROOT
from tests.support.postgres.shared_server import bin_dir

DIRECTORY = ROOT / "sql" / "audit"


async def run_audit(name: str, url: str, **variables: str) -> list[str]:
    """The rows of a script, unaligned. Raises AssertionError if psql reports an error."""
    options = [option for key, value in variables.items() for option in ("-v", f"{key}={value}")]
    process = await asyncio.create_subprocess_exec(
        str(bin_dir() / "psql"),
        *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, "-f", str(DIRECTORY / f"{name}.sql"), url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return [line for line in out.decode().splitlines() if line]
