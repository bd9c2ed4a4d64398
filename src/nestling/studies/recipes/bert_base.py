"""BERT-base by masked language modelling from scratch, MRL-E at 12 … 768 dims (Kusupati et al. 2022, §4 and appendix).

    torchrun --nproc-per-node 8 -m nestling recipe bert_base --set data=/data/wikipedia

data: .txt files of one text a line, or .parquet files with a column of texts (column=…), in a folder or alone, or a
folder that Hugging Face's `datasets` saved with such a column. They are read once into a file of token ids beside the
run, some 2 bytes a token, and cut into rows of 512.
Hardware and time (estimated, not run at full size; a few steps run in the tests): 450,000 steps of 1,024 rows are 236
billion tokens, 1.5 · 10²⁰ multiplications and additions: some two days on 8 A100 at 40 % of their bf16 peak
(accumulate=4 where a card does not hold its 128 rows). Shorter rows (length=128) are four times as fast.

The paper: AdamW with rate 1e-4, 450,000 steps, batch 1,024. The rest is as in Devlin et al. 2019: 15 % of the tokens
hidden, a line down to 0, weight decay .01, dropout .1; no next-sentence loss. Warm-up is one pass over the texts.
The decoder is the word embeddings, cut to each prefix. The pieces are those of BERT's uncased English vocabulary
(tokenizer=FOLDER names another), and the tokenizer is saved beside the model. The folder encoder of the run
is what `nestling train --pairs FILE --encoder FOLDER` fine-tunes.
"""

from nestling.studies.recipes.text import TextRecipe
from nestling.training import TrainConfig


def get_config() -> TextRecipe:
    """The recipe."""
    return TextRecipe(
        out="runs/bert-base",
        encoder="bert-base",
        dims="12,24,48,96,192,384,768",
        train=TrainConfig(
            steps=450_000,
            batch_size=1024,
            optimizer="adamw",
            lr=1e-4,
            weight_decay=0.01,
            schedule="linear",
            warmup_epochs=1.0,
            label_smoothing=0.0,
            clip_norm=1.0,
            precision="bf16",
            augment=False,
            checkpoint_every=2000,
        ),
    )
