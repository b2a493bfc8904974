"""`embedded:PATH`: a private server, which the worker itself starts and ends."""
