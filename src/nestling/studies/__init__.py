"""What joins the parts: whole experiments, each a function that a command calls."""
