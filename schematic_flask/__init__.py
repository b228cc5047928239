"""Schematic for Flask; the adapter comes in a later release."""
