"""What the facts add up to, indexed: the only package that speaks SQL."""
