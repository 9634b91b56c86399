"""``gswap evaluate``: score any method's videos, run comparators and ablations, ask people."""
