"""What operators' tools conclude, as pure functions and records: no clock, no log, no I/O."""
