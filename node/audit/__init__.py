"""Who did what to whose data: append-only, chained, in the unit of work of the deed itself."""
