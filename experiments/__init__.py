"""The paper's experiments in small: what is compared, the runs one after the other, and the table that comes out."""
