"""Who may ask: organisations, workspaces, users, and the secrets by which they are known."""
