"""Schematic for Django; the adapter comes in a later release."""
