"""Android: a bridge to its Java side, and over it the Keystore, preferences and the prompt."""
