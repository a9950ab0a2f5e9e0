"""Fine-tuning jobs: created, queued, claimed, moved from state to state.

`creation` and `control` are what clients ask for; `queue` and `progress` are what a dispatcher
reports, always under its lease's token; `moves` is the only place that writes a status.
"""
