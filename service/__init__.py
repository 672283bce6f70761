"""The process: it talks to the world. The only layer that knows secrets and people."""
