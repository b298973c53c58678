"""Commands of ``mipkd``, a module each: ``add(commands)`` adds its parsers, which set ``run``."""
