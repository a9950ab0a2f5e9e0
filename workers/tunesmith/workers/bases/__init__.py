"""Bases as the workers find them: resolved to a directory, identified by a digest."""

from .digest import base_digest
from .resolve import BaseNotUsable, ResolvedBase, default_name, resolve_base

__all__ = ["BaseNotUsable", "ResolvedBase", "base_digest", "default_name", "resolve_base"]
