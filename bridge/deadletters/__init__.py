"""Dead letters: what was parked, or given up by the broker, and what an operator can do about it."""
