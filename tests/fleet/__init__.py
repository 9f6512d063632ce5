"""Fleets: many stacks, in one organization or several, on real emulators."""
