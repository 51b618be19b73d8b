"""The networks: what they have in common, one file each, and the layers they are built of."""
