"""How answers are scored against what was expected."""
