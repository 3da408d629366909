"""The pages' files."""
