"""The operator's page: how callers are being served, which queue is the bottleneck, and what to do."""
