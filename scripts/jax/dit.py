"""The transformer of `mfm bench --case dit` in JAX: network, data, teacher and optimizer.

The sizes are those of latent.DefaultConfig: latents [8, 8, 8] of nine classes, width 128, six blocks,
of which the first four have the encoder's conditioning, four heads, patches of one position.
"""
import jax, jax.numpy as jnp, numpy as np

SHAPE, CLASSES, BATCH = (8, 8, 8), 9, 64
SIDE, CHANNELS, WIDTH, DEPTH, ENCODER, HEADS = 8, 8, 128, 6, 4, 4
TOKENS, IMAGES, NOISE = SIDE * SIDE, 1906, 0.01
silu = jax.nn.silu


# ---- network F(p, times, states, label): times s, u, t and the known share; states x̄, x and their
# combination
def init(normal):
    p = {}

    def dense(name, i, o, gain=1.0):
        p[name] = (normal(i, o, gain=gain * np.sqrt(2 * i / (i + o))), jnp.zeros(o))

    def embedding(name, gain):
        dense(name + "_hidden", 256, WIDTH), dense(name + "_output", WIDTH, WIDTH, gain)

    for name in ("state", "context", "fused"):
        dense(name, CHANNELS, WIDTH)
    for name, gain in dict(context_time=0, fused_time=1, encoder_s=1, encoder_u=0, decoder_s=0, decoder_u=1).items():
        embedding(name, gain)
    dense("context_gate", WIDTH, 2 * WIDTH, 0)
    p["class"], p["guidance"] = normal(CLASSES + 1, WIDTH, gain=0.02 * np.sqrt(CLASSES + 1)), jnp.zeros((1, WIDTH))
    for i in range(DEPTH):
        dense(f"modulation{i}", WIDTH, 6 * WIDTH, 0), dense(f"hidden{i}", WIDTH, 4 * WIDTH), dense(f"output{i}", 4 * WIDTH, WIDTH)
        p[f"qkv{i}"] = (normal(WIDTH, 3 * WIDTH, gain=np.sqrt(0.5)), jnp.zeros(3 * WIDTH))
        p[f"out{i}"] = (normal(WIDTH, WIDTH), jnp.zeros(WIDTH))
    dense("output_modulation", WIDTH, 2 * WIDTH, 0), dense("output_linear", WIDTH, CHANNELS, 0)
    return p


def positions():
    w = 10_000.0 ** (-np.arange(WIDTH // 4) / (WIDTH // 4))
    row, column = np.divmod(np.arange(TOKENS), SIDE)
    angles = [column[:, None] * w, row[:, None] * w]
    return jnp.asarray(np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], 1), jnp.float32)


def network(p, times, states, label):
    def dense(name, v):
        return v @ p[name][0] + p[name][1]

    def embed(name, t):
        phase = t[:, None] * jnp.asarray(10_000.0 ** (-np.arange(128) / 128), jnp.float32)
        return dense(name + "_output", silu(dense(name + "_hidden", jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], 1))))

    def norm(v):
        v = v - v.mean(-1, keepdims=True)
        return v * jax.lax.rsqrt((v**2).mean(-1, keepdims=True) + 1e-6)

    def modulation(name, c, n):
        return jnp.split(dense(name, silu(c))[:, None], n, -1)

    def attention(i, v):
        q, k, y = jnp.split(dense(f"qkv{i}", v).reshape(-1, TOKENS, 3 * HEADS, WIDTH // HEADS), 3, 2)
        r = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q / np.sqrt(WIDTH // HEADS), k), -1)
        return dense(f"out{i}", jnp.einsum("bhqk,bkhd->bqhd", r, y).reshape(-1, TOKENS, WIDTH))

    s, u, t, known = times
    xbar, x, fused = [v.reshape(-1, TOKENS, CHANNELS) for v in states]
    common = embed("context_time", t)
    shift, scale = jnp.split((dense("context_gate", silu(common)) * t[:, None])[:, None], 2, -1)
    tokens = dense("state", xbar) + dense("context", x) * scale + shift + dense("fused", fused) + positions()
    common = common + embed("fused_time", known) + jax.nn.one_hot(label, CLASSES + 1) @ p["class"]
    encoder = common + embed("encoder_s", s) + embed("encoder_u", u) + p["guidance"]
    decoder = common + embed("decoder_s", s) + embed("decoder_u", u)
    for i in range(DEPTH):
        m = modulation(f"modulation{i}", encoder if i < ENCODER else decoder, 6)
        tokens = tokens + m[2] * attention(i, norm(tokens) * (1 + m[1]) + m[0])
        h = jax.nn.gelu(dense(f"hidden{i}", norm(tokens) * (1 + m[4]) + m[3]), approximate=True)
        tokens = tokens + m[5] * dense(f"output{i}", h)
    shift, scale = modulation("output_modulation", decoder, 2)
    return dense("output_linear", norm(tokens) * (1 + scale) + shift).reshape(-1, *SHAPE)


# ---- data: Gaussians of variance NOISE about points, of an image and of its mirror image
def data(rng):
    labels = np.repeat(np.arange(IMAGES) % CLASSES, 2)
    patterns = rng.standard_normal((CLASSES, *SHAPE))
    points = 0.7 * (patterns[labels] + rng.standard_normal((2 * IMAGES, *SHAPE)))
    return jnp.asarray(points, jnp.float32), jnp.asarray(labels)


def drift(points, labels, s, xbar, t, x, label):
    """The drift E[dĪ_s/ds | Ī_s = x̄, I_t = x] of the data's closed form, of one class for rows with one."""
    shape, points = x.shape, points.reshape(len(points), -1)
    s, t, xbar, x = s[:, None], t[:, None], xbar.reshape(len(x), -1), x.reshape(len(x), -1)
    # Both observations combine into x* at the time t*.
    ts, st = (1 - t) * s, (1 - s) * t
    h = jnp.maximum(jnp.sqrt(ts**2 + st**2), 1e-12)
    total = (1 - s) * (1 - t) + h
    time, star = h / total, ((1 - s) * st * x + (1 - t) * ts * xbar) / (h * total)
    marginal = jnp.broadcast_to((1 - time) ** 2 + time**2 * NOISE, star.shape)
    logits = time * ((star / marginal) @ points.T - time / 2 * ((1 / marginal) @ (points**2).T))
    keep = (label[:, None] == labels) | (label[:, None] == CLASSES)
    mean = jax.nn.softmax(jnp.where(keep, logits, -jnp.inf), -1) @ points
    denoised = mean + time * NOISE * (star - time * mean) / marginal
    return (denoised - (xbar - s * denoised) / jnp.maximum(1 - s, 1e-6)).reshape(shape)


# ---- Muon for a matrix: the next value and momentum
def muon(rate, p, g, m):
    m = 0.95 * m + g
    x = (g + 0.95 * m).reshape(-1, p.shape[-1])
    rows, columns = x.shape
    x = x.T if rows < columns else x
    x = x / (jnp.sqrt((x**2).sum()) + 1e-12)
    for _ in range(5):
        gram = x.T @ x
        x = 3.4445 * x + x @ (-4.7750 * gram + 2.0315 * (gram @ gram))
    x = x.T if rows < columns else x
    return p - rate * 0.2 * np.sqrt(max(rows, columns)) * x.reshape(p.shape), m
