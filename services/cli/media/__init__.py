"""Media: what folders, DICOMDIR media, zip files and single files hold, and how to read it."""
