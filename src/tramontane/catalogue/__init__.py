"""Which models exist, what they are called, which are on this machine, and how others get here."""
