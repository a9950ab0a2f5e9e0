"""What tenants use: counts by day, what they have in storage, and what it costs."""

from .counts import NOTHING, Counts, UsageKey, UsageRow, add_usage, usage_of

__all__ = ["NOTHING", "Counts", "UsageKey", "UsageRow", "add_usage", "usage_of"]
