"""Pictures to TFRecord shards: convert, read back, verify. See README.md beside this file."""
