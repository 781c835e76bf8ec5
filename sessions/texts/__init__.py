"""Files of texts: prompts, samples, parallel prompts and corpora, as people write them. Data only."""
