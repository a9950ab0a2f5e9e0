"""Tenants and their keys, for the administrator."""
