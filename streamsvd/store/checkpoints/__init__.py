"""What a long run saves on its way."""
