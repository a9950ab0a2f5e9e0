"""Permissions: who else may use a tenant's models."""
