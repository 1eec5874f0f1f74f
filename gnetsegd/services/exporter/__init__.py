"""Metrics for Prometheus: by ``info`` and ``status`` alone, so that no camera is kept awake."""
