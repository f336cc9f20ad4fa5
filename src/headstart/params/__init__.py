"""`params.yaml` as typed values."""
