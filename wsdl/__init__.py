"""The published contracts of the SOAP services, so that wheels and checkouts find them alike."""
