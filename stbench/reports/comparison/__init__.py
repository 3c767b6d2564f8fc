"""`stbench compare BASE NEW`: verdicts on pairs of configurations, and the page that shows them."""
