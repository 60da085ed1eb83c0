"""The commands about other sites: how they come to be members, what is exchanged, and how it goes."""
