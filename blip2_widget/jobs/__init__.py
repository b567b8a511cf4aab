"""Runs in pieces, by many processes or machines, into a folder of Parquet."""
