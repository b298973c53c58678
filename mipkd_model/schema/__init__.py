"""Every option of option files: type, range, default and meaning, once; checks and ``docs/options.md`` are made of it.

Blocks are pydantic models. ``XOptions.read(block)`` reads one at any time of a run: it accepts what BasicSR's pipeline
has added, but for ``type``, which BasicSR removes from ``train.scheduler`` when it builds that. ``find_errors`` of
``mipkd_arch.base.option_types`` lists the mistakes of a block. Rules between blocks are in ``config.rules``.
"""
