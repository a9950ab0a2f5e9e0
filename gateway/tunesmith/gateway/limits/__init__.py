"""Limits of requests and tokens a minute, and of requests at once, over all gateways."""
