"""The library behind other libraries' interfaces; each is imported only when it is asked for."""
