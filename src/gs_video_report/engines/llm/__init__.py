"""What all engines with a language model share: prices, prompts in parts, answers, proofs. Pure."""
