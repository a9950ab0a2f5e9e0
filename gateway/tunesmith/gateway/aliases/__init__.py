"""Aliases, and the policy that a model must meet before an alias moves to it."""
