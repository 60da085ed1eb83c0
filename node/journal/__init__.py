"""Facts: what happened at a site, in order, each naming the one before."""
