"""The database: the truth about tenants, files, jobs, adapters and models."""

from .connection import Database
from .migrate import migrate

__all__ = ["Database", "migrate"]
