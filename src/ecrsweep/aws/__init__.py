"""Everything that speaks AWS: sessions, regions, registries, and the one door for botocore's errors."""
