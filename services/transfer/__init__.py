"""The bytes of instances over HTTPS, beside the services that decide about them; both ends."""
