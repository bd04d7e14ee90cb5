"""Rules that say which stored resource a pushed one is; `docs/identity.md` has an example of each."""
