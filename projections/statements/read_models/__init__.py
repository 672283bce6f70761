"""The statements that every read model needs: its checkpoint, the events after it, its rebuild."""
