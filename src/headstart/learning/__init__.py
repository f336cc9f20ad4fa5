"""Networks and their training, without a word about transfer."""
