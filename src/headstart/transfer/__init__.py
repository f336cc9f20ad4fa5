"""The subject: what comes from the source network, and what trains when."""
