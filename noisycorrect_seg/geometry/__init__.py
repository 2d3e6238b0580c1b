"""Where things lie: crops, the canonical frame, warps, borders."""
