"""The command line ``embtune``: one small file per command."""
