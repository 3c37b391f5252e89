"""Define the methods, and the expressions that name and combine them."""
