"""From recordings of spoken words to a keyword spotter on a microcontroller."""
