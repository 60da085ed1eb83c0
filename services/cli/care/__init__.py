"""Looking after copies: check, repair, scrub, findings, brakes, proofs."""
