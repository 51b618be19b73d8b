"""Several processes that train one network together, and how they notice that one is lost."""
