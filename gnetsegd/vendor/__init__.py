"""Other people's libraries that Debian does not have, carried as they are. NOTICE names them."""
