"""The demonstration: a shop, a worker and a Redis server, all in one command."""
