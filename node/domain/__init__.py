"""Names, values, states and errors: the words of the house. Standard library only."""
