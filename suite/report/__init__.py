"""What the user sees: live table, summary, the page of the tasks."""
