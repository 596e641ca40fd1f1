"""The demo's annotator, its images, and its report; it knows the system only through public HTTP routes."""
