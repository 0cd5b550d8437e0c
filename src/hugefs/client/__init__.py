"""What a user's program imports: mounts, files, mappings, arrays. A client decides nothing: it asks the server."""
