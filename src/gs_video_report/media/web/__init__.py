"""Fetch recordings from addresses, safely."""
