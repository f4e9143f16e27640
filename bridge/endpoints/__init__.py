"""The ASGI endpoints."""
