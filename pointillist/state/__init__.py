"""What is true now: the workspace as read, the journal, the claims, and the plan that follows from them."""
