"""The node in DICOM: an application entity that stores, finds, sends and vouches (PS3.4, PS3.7, PS3.8)."""
