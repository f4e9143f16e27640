"""Talking to a broker: STOMP 1.2 in the hands of asyncio, and a real ActiveMQ as a child process.

This package knows nothing of HTTP.
"""
