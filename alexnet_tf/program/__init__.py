"""What every command of this project shares: how it ends, writes files and is stopped. No TensorFlow here."""
