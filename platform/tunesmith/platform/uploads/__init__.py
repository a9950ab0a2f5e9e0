"""Uploads: a file that comes in parts, kept in storage until it is whole or its time is over."""
