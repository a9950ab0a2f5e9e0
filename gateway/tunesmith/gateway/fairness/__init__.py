"""Turns at an engine, shared between tenants by tokens."""
