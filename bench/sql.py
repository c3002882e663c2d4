"""The statements of the benchmarks."""

from pathlib import Path

from service.platform.queries import Statements

SQL = Statements("bench", Path(__file__).with_name("statements.sql").read_text(encoding="utf-8"))
