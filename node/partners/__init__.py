"""Foreign archives as partners, by plain DICOM: backed up into in a closed loop, or moved from as a whole."""
