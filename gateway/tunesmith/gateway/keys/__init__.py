"""Whose a key or a bearer token is, kept for a second; and a tenant's management of its keys."""
