"""The vendor's own client against our local server."""
