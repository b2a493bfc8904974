"""How `run` ends."""

DONE, FAILED, WRONG_USAGE, PORT_TAKEN = 0, 1, 2, 3
