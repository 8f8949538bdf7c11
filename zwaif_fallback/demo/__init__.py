"""The demo: a chat through an outage and back, with a tiny model that is part of the package."""
