"""From records to what a network sees: reading, chance, decoding, crops and colors."""
