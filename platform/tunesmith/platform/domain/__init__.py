"""What Tunesmith is about, free of frameworks: names, ids, states, errors."""
