"""The command line: what a technician asks of a site, told in sentences and exit codes."""
