"""Who asks, and what they may do: asked of those who know, never kept here."""
