"""Read models: what the log looks like now. Must never import `service`."""
