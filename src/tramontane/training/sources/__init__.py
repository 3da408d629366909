"""Text and where it comes from: every source has an entry in the training record, or it is not used."""
