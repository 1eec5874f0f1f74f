"""Is somebody there? Told to Home Assistant over MQTT, to a command, or to an address. No picture leaves."""
