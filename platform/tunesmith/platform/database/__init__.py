"""The database: the truth about tenants, files, jobs, adapters and models."""

from .connection import Database
from .migrate import migrate
from .waiting import until_done, wait_for_schema

__all__ = ["Database", "migrate", "until_done", "wait_for_schema"]
