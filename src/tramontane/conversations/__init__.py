"""Conversations: what was asked and answered, the documents that answers quote, sharing; an answer outlives its tab."""
