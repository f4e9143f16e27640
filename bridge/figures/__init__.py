"""What is counted of the calls, and how an operator gets to see it."""

from bridge.figures.histogram import BOUNDS, Histogram
from bridge.figures.route import CALLER_GONE, STRANGERS, RouteFigures

__all__ = ["BOUNDS", "CALLER_GONE", "STRANGERS", "Histogram", "RouteFigures"]
