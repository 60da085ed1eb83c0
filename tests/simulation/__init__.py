"""Three whole sites, simulated: network, clocks, disks, crashes and people from one seed, in one process.

```
seed ──▶ plan ──▶ step, step, step ... ──▶ heal ──▶ settle ──▶ what is promised in the end
                    │
                    └─ deed of a device, a person, the node itself or the saboteur;
                       what is promised at every moment is looked at after each
```

The sites run the code of the node, all of it from the doors down to the catalog on SQLite; only the disk
below the store of bytes, the wire between the sites and the clocks are simulated. Nothing depends on threads,
on the time of the machine, or on the order of a set: a seed tells the same story wherever it is told.

`python -m tests.simulation --seeds 1000` tries many seeds, `--seed N --trace` tells the story of one.
"""
