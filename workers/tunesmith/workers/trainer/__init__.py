"""The trainer's core: LoRA fine-tunes of many slots on one resident base.

It needs torch, transformers, peft, safetensors, tokenizers and the standard library alone: plain
values, paths and bytes come in, dataclasses and bytes go out. Ray, storage and the database wrap
it from outside. The seams, in the order in which a job meets them:

    base.load_base           a model directory becomes a resident `Base`
    render.Renderer          chat examples become token rows with a loss mask
    recipe.resolve           `auto` hyperparameters become numbers
    cohort.Cohort            slots join, step and leave
    checkpoint.SlotState     a slot's complete state, to and from bytes
    adapter.AdapterFiles     the result in PEFT's format, and its digest
    validation.validate_adapter   what an engine may be given
"""
