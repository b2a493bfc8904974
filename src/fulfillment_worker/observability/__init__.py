"""Sight: metrics, probes and logs, fed with events. Nothing in here can fail an order."""
