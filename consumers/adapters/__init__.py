"""Other things as workers: an ASGI app, an HTTP service, a program on stomp.py."""
