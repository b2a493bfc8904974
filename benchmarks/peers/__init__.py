"""Other workers over Redis, each in an environment of its own and in its best sensible setting."""
