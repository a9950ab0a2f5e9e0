"""Paired statistics, and the verdict that they support."""
