"""Messages and bytes: what travels between a client and a server. Knows no sockets."""
