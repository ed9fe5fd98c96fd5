"""Makes a vocabulary of words and pieces of words, and the tokens of strings by transformers' BertTokenizer.

    pip install transformers open-clip-torch ftfy
    python make_tokens.py

The strings are those of mfm/nn/clip/bpe/testdata/make_tokens.py.
"""

import collections
import gzip
import json
import pathlib
import sys

from transformers import BertTokenizer

here = pathlib.Path(__file__).parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(here.parent.parent.parent / "clip/bpe/testdata"))
import make_tokens  # noqa: E402

length = 35

if __name__ == "__main__":
    texts = make_tokens.strings(400) + ["x" * 100, "x" * 101, "a[SEP]b [MASK] [sep]", "[ENC] and [DEC]", "nul\x00l \x85 \x0b \ue000"]
    words = collections.Counter(w for t in texts for w in t.lower().split())
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789'-,.!?#:/()éстмогσςλ京日本语中한😀👍") - set("é"))
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters]
    common = [w for w, n in words.most_common(200) if w.isascii() and w.isalnum() and len(w) > 1]
    names += common + ["##" + w for w in common[:60]] + ["##ing", "##ed", "ph", "##oto"]
    names = list(dict.fromkeys(names))
    (here / "vocabulary.txt").write_text("\n".join(names) + "\n")
    tokenizer = BertTokenizer(vocab={n: i for i, n in enumerate(names)})
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
    rows = [{"text": t, "ids": tokenizer(t, truncation=True, max_length=length)["input_ids"]} for t in texts]
    raw = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    (here / "tokens.json.gz").write_bytes(gzip.compress(raw, 9, mtime=0))
    unknown = sum(i == 1 for r in rows for i in r["ids"]) / sum(len(r["ids"]) for r in rows)
    print(len(names), "tokens", len(rows), "strings", f"{unknown:.2f} unknown")
