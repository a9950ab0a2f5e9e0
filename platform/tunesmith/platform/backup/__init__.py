"""Backups: one moment of the database, and the objects that it names, in a place of their own."""
