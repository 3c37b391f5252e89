"""Methods: what each does to a training, and the expressions that name and combine them."""
