"""`konzilium audit`: the audit record of the site, and those of the other sites as this one knows them."""
