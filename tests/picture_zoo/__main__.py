"""Renews the table in docs/PICTURES.md: `python -m tests.picture_zoo`."""

from tests.picture_zoo.zoo import write_table

write_table()
