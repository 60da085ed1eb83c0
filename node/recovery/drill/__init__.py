"""Drills: what this site can recover from is tried on a scratch area with real data, and reported.

```
order ──▶ area ──▶ snapshot of the catalog ──▶ sample ──▶ scenario: plant, find, repair ──▶ every digest again
                                                              │
                     report: steps, RPO, RTO, verdict ◀───────┘  signed, as JSON and as a page
```

Nothing of the live site is written but the report and one audit record; members see reads alone.
"""
