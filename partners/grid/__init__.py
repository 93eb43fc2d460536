"""What the grid asks of the site, and what the site tells it: DSX Flex and OpenADR. Advice to people; nothing is switched."""
