"""Every option of option files: type, range, default and meaning, once; checks and ``docs/options.md`` are made of it.

Blocks are pydantic models. ``XOptions.read(block)`` reads one; ``mipkd_arch.base.option_types.find_errors`` lists all
its mistakes. Rules between blocks are in ``config.rules``.
"""
