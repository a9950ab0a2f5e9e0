"""Training on Ray: files are prepared by tasks, cohorts are actors.

The trainer's core knows nothing of this; nothing here knows the database. Work comes in as plain
values, and what happens goes out as `updates`, which the dispatcher writes down.
"""
