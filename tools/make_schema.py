"""Prints sql/schema.sql, the schema of migrations, functions and views. `make schema` runs it."""

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from service.platform.db import connect
from service.platform.embedded.server import EmbeddedServer, bin_dir
from service.platform.migrate import migrate

HEADER = """-- The schema that sql/migrations, sql/functions and sql/views add up to. Made by `make schema`; a test
-- compares it with a migrated database.
-- Left out: the daily partitions of events and attempts, which make_partitions() makes, and the rows of
-- log_head, epoch, schema_migrations and schema_definitions.

set check_function_bodies = false;
"""
# pg_dump's lines about itself and the session. An older server does not know some of them.
_NOISE = re.compile(r"^(?:SET |SELECT pg_catalog\.set_config|\\(?:un)?restrict|--).*\n", re.MULTILINE)
# The dump may create a table before the function that its default calls, because PostgreSQL 18 has
# uuidv7() built in. Older servers do not, so our function goes first.
_UUIDV7 = re.compile(r"^CREATE FUNCTION public\.uuidv7\(\).*?^\$\$;\n", re.MULTILINE | re.DOTALL)


async def _migrate(url: str) -> None:
    connection = await connect(url, application_name="jossiedb make schema")
    try:
        await migrate(connection)
    finally:
        await connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="jossiedb-schema-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        with EmbeddedServer(Path(directory), sync=False, settings={"fsync": "off"}) as url:
            asyncio.run(_migrate(url))
            partitions = [f"--exclude-table={parent}_[0-9]*" for parent in ("events", "attempts")]
            command = [str(bin_dir() / "pg_dump"), "--schema-only", "--no-owner", "--no-privileges", *partitions, url]
            dump = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    body = _NOISE.sub("", dump)
    [first] = _UUIDV7.findall(body)
    body = re.sub(r"\n{3,}", "\n\n", f"{first}\n{_UUIDV7.sub('', body)}").strip()
    sys.stdout.write(f"{HEADER}\n{body}\n")


if __name__ == "__main__":
    main()
