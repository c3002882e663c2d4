"""The relay's connections to PostgreSQL."""

from service.platform.db import Pool, open_pool

# Claim, record, fan-out, presence, replays and housekeeping each use one at a time; the LISTEN connection comes on top.
POOL_SIZE = 6
# Queues are empty at one moment and hold a million rows at the next, and statistics tell of neither. So statements are planned
# once, without their arguments, and along indexes: a plan that reads a whole table, or a whole lane to sort it, is right for
# an empty one only.
PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


async def open_queues(url: str) -> Pool:
    """Raises StartupError."""
    return await open_pool(
        url, application_name="jossiedb relay", size=POOL_SIZE, server_settings=PLANNING, keep_state=True
    )
