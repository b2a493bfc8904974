"""Settings: from flags and environment variables to one frozen record."""
