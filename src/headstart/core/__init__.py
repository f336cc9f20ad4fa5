"""What everything stands on: artefacts, seeds, runtime, errors; and the library's own code."""
