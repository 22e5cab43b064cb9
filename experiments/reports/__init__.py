"""What a run leaves for people: results.json, report.html, report.md, and the tables and pictures in them."""
