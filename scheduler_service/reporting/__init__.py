"""Reports that people read: figures from records, charts of them, and pages that stand alone."""
