"""What `make demo` needs besides the program itself: the pictures it learns from."""
