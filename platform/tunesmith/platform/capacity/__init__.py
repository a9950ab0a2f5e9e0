"""How many GPUs, gateways and what database a number of tenants needs.

An analytic estimate finds where to begin, a discrete-event simulation (simpy) of queue, cohorts
and engines confirms it. Both are calibrated on single parts that were measured, or, where nothing
was, on assumptions that say so (`calibration.toml`). `tunesmith plan` is its command.
"""
