"""The command line: reads flags and the environment, says what happened, and sets exit codes."""
