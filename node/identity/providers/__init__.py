"""Which identity providers this site believes: from signed metadata to what a login has to know of one."""
