"""From HTTP to a message and back. Knows nothing of workers."""
