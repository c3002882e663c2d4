"""The API as a process, and as an application of all features."""
