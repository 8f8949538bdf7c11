"""What a turn costs more because the guards are there, while the primary is well."""
