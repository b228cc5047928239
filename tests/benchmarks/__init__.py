"""Benchmarks against the vendor's package, run as a peer in its own environment: ``python -m tests.benchmarks``."""
