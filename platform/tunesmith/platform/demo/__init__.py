"""The demo: a base model becomes a support desk's own, and both are measured."""
