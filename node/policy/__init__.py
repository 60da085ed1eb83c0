"""Who may do what: pure, with reasons."""
