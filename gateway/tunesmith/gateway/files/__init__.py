"""Files: uploaded in a stream, checked, listed, read back, deleted."""
