"""From the domain to what the world is told: REST documents and CloudEvents. Pure."""
