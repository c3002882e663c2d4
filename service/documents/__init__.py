"""The documents of the API and the events, made from routes and catalogue, with examples."""
