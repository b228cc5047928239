"""The HTTP API: a call is a value, pure rules make it and judge its outcome, two small executors run it."""
