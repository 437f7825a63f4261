"""What people look at: the table, sentences, pictures, TensorBoard and the bar."""
