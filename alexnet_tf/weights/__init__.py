"""Published files of weights, and between their layout and this project's. No TensorFlow here."""
