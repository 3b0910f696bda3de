"""Loopback servers that speak the protocols of remote engines, for tests and for people."""
