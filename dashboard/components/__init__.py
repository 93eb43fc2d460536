"""Parts that several pages of the console share."""
