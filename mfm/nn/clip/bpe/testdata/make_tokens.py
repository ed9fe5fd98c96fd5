"""Makes the tokens of this folder with OpenCLIP's and transformers' tokenizers.

    pip install open-clip-torch transformers ftfy
    python make_tokens.py

tiny_vocabulary.txt has pairs of bytes that are frequent in the strings here. tiny_tokens.json.gz and
clip_tokens.json.gz have strings with their tokens, up to the one that ends the text, by it and by the
vocabulary of CLIP in open-clip-torch.
"""

import collections
import gzip
import json
import pathlib
import random

from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode, default_bpe
from transformers import CLIPTokenizer

here = pathlib.Path(__file__).parent
length = 77

subjects = """a tabby cat|two dogs|the Eiffel Tower|an astronaut|a bowl of ramen|crème brûlée|a naïve façade|Zürich at night|
São Paulo|Ångström|El Niño|piñata|Dvořák|Łódź|smørrebrød|Þingvellir|Æsir|Œuvre|İstanbul|ıspanak|Straße|STRASSE|ẞ|Ὀδυσσεύς|ΟΔΟΣ|
Σίσυφος ΣΑΣ|Москва|ЁЖИК|Київ|東京タワー|日本語のテキスト|北京的冬天|서울의 밤|กรุงเทพ|नमस्ते दुनिया|مرحبا بالعالم|שלום עולם|xin chào Việt Nam|
Tiếng Việt|the dog's bone|it's, isn't, we're, I'll, you'd, they've, I'm|DON'T SHOUT|rock'n'roll|'quoted'|O'Neill's|
3 cats and 12345 mice|1,000.50 $|2+2=4|v2.1-beta_3|½ cup|x² + y³|Ⅷ|①②③|H₂O|100%|#hashtag @user|user@example.com|
https://example.com/a?b=c&d=e|C++ and C#|~/.bashrc|a_b-c.d|(parentheses) [brackets] {braces}|<b>bold</b>|a < b > c|&amp; &lt;3|
&eacute;t&eacute; &EACUTE; &hearts; &#233; &#x1F600;|&notanentity; &amp;amp;|R&D|AT&T|&copy 2024|“curly” ‘quotes’ and ’tis|„low“ «angle»|
ﬁne ﬂow eﬃcient ﬅ|ＦＵＬＬＷＩＤＴＨ　１２３|ﾊﾝｶｸ ｶﾞｷﾞ|ĳsje ǅ ǆ ŉ|e\u0301 vs \u00e9|o\u0308 n\u0303|Z\u0351\u036d a\u0300\u0301\u0302|
line\nbreak|carriage\r\nreturn|tab\there|no\u00a0break|thin\u2009space|line\u2028separator|zero\u200bwidth|\ufeffbyte order|\x07bell\x1b[31mred\x1b[0m|
\u202eoverride|a\u00adb|👍|😀😃😄|👩‍👩‍👧‍👦 family|🏳️‍🌈 flag|🇩🇪🇫🇷|👋🏽 wave|❤️ heart|✨ sparkles ✨|☕️|™ ® ©|→ ⇒ ↔|∑∫√∞≈|€£¥₿|…|—–-|½¾|
<start_of_text>|<end_of_text> in the text|<|endoftext|> here|<|STARTOFTEXT|>|!<end_of_text>|word<|endoftext|>word|\ufffd replacement|ſhort|Kelvin K|
snake_case CamelCase kebab-case|AAAA|aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa|antidisestablishmentarianism|Pneumonoultramicroscopicsilicovolcanoconiosis|
qwertzuiopasdfghjkl|...!!!???|''''|'s|'|"|-|.|0|é|中|\U0001f9ff""".replace("\n", "").split("|")
subjects += ["<|endoftext|> here", "<|STARTOFTEXT|> there", "word<|endoftext|>word", "line\nbreak & <b>", "x &gt; y\n&gt;"]
styles = ["a photo of {}", "{} in the style of Van Gogh, 8k, highly detailed", "A {} — trending on ArtStation", "{}.", "({})",
          "oil painting of {} at sunset; f/1.8, 35mm", "{} and {}", "{}/{}", "{}  {}", "{}{}", "{} 'n' {}", "{} #{}", "THE {}!", "{}?"]


def strings(count):
    rng = random.Random(0)
    texts = ["", " ", "\n\t ", "\u3000"] + subjects
    texts += [" ".join(rng.choice(subjects) for _ in range(n)) for n in (20, 40, 80, 200)]
    texts += ["cat " * n for n in (74, 75, 76, 77, 300)] + ["😀" * 40, "1" * 90, "漢字" * 50]
    while len(texts) < count:
        style = rng.choice(styles)
        texts.append(style.format(*(rng.choice(subjects) for _ in range(style.count("{}")))))
    return list(dict.fromkeys(texts))


def learn(texts, pairs):
    """Byte pair encoding of the words of texts, by spaces."""
    encoder = bytes_to_unicode()
    words = collections.Counter(word for text in texts for word in text.lower().split())
    split = {w: [encoder[b] for b in w.encode()] for w in words}
    for parts in split.values():
        parts[-1] += "</w>"
    merges, made = [], set()
    while len(merges) < pairs:
        counts = collections.Counter()
        for word, parts in split.items():
            for pair in zip(parts, parts[1:]):
                if "".join(pair) not in made:
                    counts[pair] += words[word]
        pair = max(counts, key=lambda p: (counts[p], p))
        merges.append(pair)
        made.add("".join(pair))
        for parts in split.values():
            i = 0
            while i + 1 < len(parts):
                if (parts[i], parts[i + 1]) == pair:
                    parts[i : i + 2] = ["".join(pair)]
                i += 1
    return merges


def transformers_tokenizer(merges):
    names = list(bytes_to_unicode().values())
    names += [n + "</w>" for n in names] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={n: i for i, n in enumerate(names)}, merges=merges)


def write(path, vocabulary, texts):
    openclip = SimpleTokenizer(str(vocabulary))
    merges = [tuple(m.split()) for m in gzip.open(vocabulary).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]]
    transformers = transformers_tokenizer(merges)
    rows = []
    for text in texts:
        ids = openclip([text], length)[0].tolist()
        ids = ids[: ids.index(openclip.eot_token_id, 1) + 1] if "of_text" not in text else ids
        others = transformers(text, padding="max_length", truncation=True, max_length=length)["input_ids"]
        rows.append({"text": text, "openclip": ids, "transformers": others})
    raw = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(raw, 9, mtime=0))
    print(path.name, len(rows), "strings", path.stat().st_size, "bytes")


if __name__ == "__main__":
    texts = strings(1250)
    tiny = here / "tiny_vocabulary.txt"
    tiny.write_text("\n".join(["#version: tiny"] + [" ".join(m) for m in learn(texts, 86)]))
    compressed = here / "tiny.gz"
    compressed.write_bytes(gzip.compress(tiny.read_bytes()))
    markup = ["<i>&ldquo;it&rsquo;s&rdquo;</i>", "it&rsquo;s &ldquo;ok&rdquo;", "1 < 2\nit&rsquo;s", "it&rsquo;s\n1 < 2", "x&quot;y&#39;s",
              "&amp;ldquo;", "&LDQUO;a&RDQUO; &Eacute &notit;", "<|endoftext|>'s", "<|EndOfText|>a<|endoftext|>"]
    write(here / "tiny_tokens.json.gz", compressed, texts[:200] + markup)
    compressed.unlink()
    write(here / "clip_tokens.json.gz", default_bpe(), texts + markup)
