"""Decisions. Pure: no asyncio, no asyncpg."""
