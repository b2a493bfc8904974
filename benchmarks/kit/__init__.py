"""What all benchmarks share: cores, servers, orders, workers, figures."""
