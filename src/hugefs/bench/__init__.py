"""Questions about speed, asked of hugefs and of what one would use instead, in the same run."""
