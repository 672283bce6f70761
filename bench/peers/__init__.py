"""What the log is measured against, on the same server. Must never be made slower than its users would have it."""
