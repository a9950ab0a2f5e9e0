"""Health, readiness and metrics, for supervisors and schedulers."""
