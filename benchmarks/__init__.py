"""How fast, how soon and how cheap: benchmarks of this worker and of its peers."""
