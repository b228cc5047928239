"""The samples of the vendor's README, run against our clients and the local server."""
