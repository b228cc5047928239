"""Checks: asking for a flag's value. What is decided is in machines and one flow; both clients share them."""
