"""Figures against Debian's Orthanc on the same machine: `make bench`, `make bench ONLY=cstore-ct-1`."""
