"""Routing of 1,000 adapters over 8 engines, by simulation with the gateway's own choice."""
