"""The server: sessions, credentials, descriptors; applies the core and carries out its effects on real memory."""
