"""The web console: pages for people and JSON for programs, about queues that workers serve."""
