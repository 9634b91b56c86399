"""From files to a delivered video, step by step."""
