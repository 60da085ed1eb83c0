"""What several kinds of tests share: synthetic instances, node processes, peers, faults."""
