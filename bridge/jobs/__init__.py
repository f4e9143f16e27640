"""Jobs: requests that survive their caller, their bridge and a restart of the broker (docs/decisions/0009-jobs.md)."""
