"""The rules of an order's life, as pure functions and records: no clock, no log, no I/O."""
