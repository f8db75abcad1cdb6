"""A small issue tracker: users, projects, issues, comments and labels."""
