"""A process that has done the imports of a bundle host and nothing else, and is forked for each request."""
