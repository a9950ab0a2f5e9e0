"""The evaluator: data reports written, tuned models measured against what they came from."""
