"""What requests cost: prices, lots of money and commitments, holds, the ledger, usage, limits, statements."""
