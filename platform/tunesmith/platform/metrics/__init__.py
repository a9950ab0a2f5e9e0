"""What Prometheus sees of every process alike. Needs `prometheus_client`, which the extras
`gateway` and `workers` bring; the rest of the platform does without.
"""
