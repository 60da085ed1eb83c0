"""What every SOAP service of the node shares: declarations, contracts, envelopes, limits, faults, bytes.

```
 Service class ──▶ Contract ──▶ WSDL, XSD           declared once, in Python
                      │
 request ─▶ body ─▶ envelope ─▶ authenticate ─▶ limit ─▶ schema ─▶ codec ─▶ operation
            size    nodes       on the same tree         per thread         a bound method
```

spyne holds the declarations: its types, its method table, its schema. Reading, limits, faults and
writing are ours, because that is where spyne 2.14 can be hurt.
"""
