"""A profile of the CPU in a drain: py-spy on each relay, pg_stat_statements and sampled plans on
PostgreSQL.

py-spy is not among the requirements: `.venv/bin/pip install py-spy`.
"""

import asyncio
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

from bench.drain import drain, subscribe
from bench.measure import cpu_text, shown
from bench.sql import SQL
from bench.world import Options, World, world

_SERVER_SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "pg_stat_statements.track": "top",
    # Log the plan and its actual figures for one in five statements that take more than 3 ms.
    "auto_explain.log_min_duration": "3",
    "auto_explain.sample_rate": "0.2",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
}
_RECEIVERS = 20
_MOST = 25


async def profile(options: Options, directory: Path, out: Path, transport: str) -> None:
    """Prints the summary. Leaves the raw stacks (for a flame graph, or speedscope.app) and the
    server's log in `out`."""
    async with world(options, directory, _SERVER_SETTINGS) as everything:
        await _profile(everything, out, transport)
    shutil.copy(directory / "postgres.log", out / "postgres.log")


async def _profile(world: World, out: Path, transport: str) -> None:
    count = world.options.pick(50_000, 20_000)
    async with world.database() as database:
        _, locations = await subscribe(world, database, _RECEIVERS)
        await database.connection.execute("create extension pg_stat_statements")
        async with world.relays(database, 2, transport) as relays:
            await database.connection.execute("select pg_stat_statements_reset()")
            spies = [await _spy(pid, out / f"relay{number}.txt") for number, pid in enumerate(relays)]
            figure = await drain(world, database, relays, locations, count, over_http=transport != "instant")
            for spy in spies:
                if spy.returncode is None:
                    spy.send_signal(signal.SIGINT)
                await asyncio.wait_for(spy.wait(), 60)
            statements = await SQL.slowest_statements.fetch(database.connection, name=database.name, most=12)
    print(
        f"{count:,} events to {_RECEIVERS} receivers, two relays ({transport}): {shown(figure.value)}/s, {cpu_text([figure])}"
    )
    for number in range(len(relays)):
        print(f"\nrelay {number}: own time, then with what it calls, in % of the samples")
        print(_summary(out / f"relay{number}.txt"))
    print("\npg_stat_statements: calls, rows, ms, us a row, blocks, statement")
    for row in statements:
        print(
            f"{row['calls']:>8,} {row['rows']:>9,} {row['ms']:>7,} {row['us_a_row']:>8} {row['blocks']:>10,} {row['query']}"
        )


async def _spy(pid: int, file: Path) -> asyncio.subprocess.Process:
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        sys.exit("py-spy is not installed: .venv/bin/pip install py-spy")
    # Only threads that hold the interpreter's lock. The others wait, or are in the kernel.
    command = [
        "record",
        "--gil",
        "--pid",
        str(pid),
        "--rate",
        "200",
        "--format",
        "raw",
        "--output",
        str(file),
        "--duration",
        "300",
    ]
    spy = await asyncio.create_subprocess_exec(
        str(program), *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    # py-spy has to read the interpreter's symbols first.
    await asyncio.sleep(2)
    return spy


def _summary(file: Path) -> str:
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, samples = line.rpartition(" ")
        # Without line numbers, so that the samples of a function add up.
        frames = [frame.rpartition(":")[0] + ")" if ":" in frame else frame for frame in stack.split(";")]
        total += int(samples)
        own[frames[-1]] += int(samples)
        for frame in set(frames):
            whole[frame] += int(samples)
    if not total:
        return "  no samples"
    lines = [f"  {samples / total:6.1%}  {frame}" for frame, samples in own.most_common(_MOST)]
    lines += ["  --"]
    lines += [f"  {samples / total:6.1%}  {frame}" for frame, samples in whole.most_common(_MOST + 15)]
    return "\n".join(lines)
