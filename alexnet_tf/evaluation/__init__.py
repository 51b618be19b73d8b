"""From a network and pictures to error rates."""
