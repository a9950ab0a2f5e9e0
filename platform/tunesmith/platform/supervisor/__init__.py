"""The local supervisor: runs the platform's processes on one machine, and leaves none behind.

Nothing is imported here: the warden, a process that must be small, lives in this package.
"""
