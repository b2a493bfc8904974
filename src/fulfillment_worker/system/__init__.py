"""The process itself: which thread hears signals, what a fork is left, streams, and threads."""
