"""Aliases: names of a tenant's own that point at a model, and move to a better one."""
