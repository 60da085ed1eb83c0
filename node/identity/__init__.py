"""Who is calling: from what a face sees to a principal."""
